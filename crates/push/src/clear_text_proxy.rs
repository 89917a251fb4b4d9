//! Whether the environment sends plain http through a proxy on another host, which would read
//! the token. Only clients that follow the environment's proxies ask ([`ReqwestClient`]).
//!
//! [`ReqwestClient`]: super::ReqwestClient

use url::{Host, Url};

/// Where proxies of plain http are named, the first one that is set wins.
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Names the environment variable whose proxy would get a request for `host` over plain http on
/// another machine; `None` if there is no such proxy. A value that cannot be read counts as one.
pub fn clear_text_proxy(host: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is_set = |name: &&str| env(name).is_some_and(|value| !value.trim().is_empty());
    let name = PROXIES.into_iter().find(|name| is_set(name))?;
    let exceptions = EXCEPTIONS
        .into_iter()
        .find(|name| is_set(name))
        .and_then(env);
    if exceptions.is_some_and(|list| is_excepted(host, &list)) {
        return None;
    }
    let proxy = env(name)?;
    (!is_on_this_machine(proxy.trim())).then_some(name)
}

/// Whether a list like `localhost,.example.com,10.0.0.1` excepts a host.
fn is_excepted(host: &str, list: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    list.split(',').any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        let domain = entry.trim_start_matches('.');
        !domain.is_empty()
            && (entry == "*"
                || host == domain
                || host
                    .strip_suffix(domain)
                    .is_some_and(|rest| rest.ends_with('.')))
    })
}

fn is_on_this_machine(proxy: &str) -> bool {
    let with_scheme = if proxy.contains("://") {
        proxy.to_owned()
    } else {
        format!("http://{proxy}")
    };
    let Ok(url) = Url::parse(&with_scheme) else {
        return false;
    };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_of(host: &str, set: &[(&str, &str)]) -> Option<&'static str> {
        clear_text_proxy(host, &|asked| {
            let found = set.iter().find(|(name, _)| *name == asked);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_proxy_on_another_host_reads_what_is_not_excepted() {
        let far = ("http_proxy", "http://proxy.example:3128");
        assert_eq!(proxy_of("127.0.0.1", &[far]), Some("http_proxy"));
        assert_eq!(
            proxy_of("gate", &[("ALL_PROXY", "10.0.0.9:3128")]),
            Some("ALL_PROXY")
        );
        assert_eq!(
            proxy_of("gate", &[("HTTP_PROXY", "%%%")]),
            Some("HTTP_PROXY")
        );
        for (host, except) in [
            ("gate", "gate"),
            ("a.example.com", ".example.com"),
            ("a.example.com", "example.com"),
            ("127.0.0.1", "localhost, 127.0.0.1"),
            ("[::1]", "::1"),
            ("any", "*"),
        ] {
            assert_eq!(proxy_of(host, &[far, ("NO_PROXY", except)]), None, "{host}");
        }
        assert!(proxy_of("notexample.com", &[far, ("no_proxy", "example.com")]).is_some());
    }

    #[test]
    fn no_proxy_and_one_of_this_machine_read_nothing() {
        assert_eq!(proxy_of("gate", &[]), None);
        assert_eq!(proxy_of("gate", &[("http_proxy", " ")]), None);
        for near in ["http://127.0.0.1:3128", "localhost:3128", "http://[::1]:1"] {
            assert_eq!(
                proxy_of("127.0.0.1", &[("http_proxy", near)]),
                None,
                "{near}"
            );
        }
        assert_eq!(proxy_of("gate", &[("https_proxy", "http://far:1")]), None);
    }
}
