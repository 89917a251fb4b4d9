//! The machine's name.

/// The name of this machine; `None` where the system tells none.
#[cfg(target_os = "linux")]
pub fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    (!name.is_empty()).then(|| name.into_owned())
}

/// The name of this machine, as the environment gives it; `None` where it does not.
#[cfg(not(target_os = "linux"))]
pub fn host_name() -> Option<String> {
    std::env::var("HOSTNAME").ok()
}
