//! The profile: one YAML file, read once, turned into checked settings.
//!
//! A profile is shared with other platform components. Keys that are not WSP's
//! are ignored; keys inside `wsp_*` blocks must be known. `${VAR}` and
//! `${VAR:-default}` are expanded in the keys that WSP reads; an unset one makes
//! the value absent, which is an error only where a command needs the value
//! ([`Profile::require`]). Files that a profile refers to are opened only when
//! needed ([`Profile::read_outputs`]): from the working directory first, then beside
//! the profile.

pub mod request;
mod settings;
mod document;
mod places;
mod secret;
mod expand;

use std::path::{Path, PathBuf};

use gates::VerificationMode;
use oracle_store::{DataVerification, ObjectStoreConfig, Posture, read_named_file};

use document::{Document, invalid};
pub use expand::Env;
pub use replay::WhenLate;
pub use replay::{Concurrency, LaneOrdering};
pub use replay::{OnDisorder, OrderSettings};
pub use replay::{OnReject, RejectSettings};
pub use secret::Secret;
pub use settings::{
    CheckpointBackend, CheckpointScope, CheckpointSettings, OrderMode, ProducerSettings,
    PushClientKind, PushSettings, RetrySettings,
};

use crate::{Error, ReasonCode};
use push::{PushEndpoint, clear_text_proxy};
use replay::Pace;

/// The runs root of the platform where a profile names none.
const DEFAULT_RUNS_ROOT: &str = "runs/fraud-platform";
/// The catalogue of the platform's contracts; a default in local posture only.
const DEFAULT_CATALOGUE: &str = "contracts/engine_outputs.catalogue.yaml";

/// What some editors begin a file by; it is no part of the text.
const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// A list of outputs, inline or in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputList {
    /// The profile holds the ids itself.
    Inline(Vec<String>),
    /// The path of a file that holds them, as written.
    Ref(String),
}

/// The settings of one profile, checked and with defaults applied.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Where the file stands; file references resolve beside it.
    pub path: PathBuf,
    /// `profile_id`.
    pub profile_id: String,
    /// How much evidence a run needs.
    pub posture: Posture,
    /// `policy.policy_rev`, for the audit.
    pub policy_rev: Option<String>,
    /// False waives the gates, in local posture only.
    pub require_gate_pass: bool,
    /// How gates are verified.
    pub gate_verification: VerificationMode,
    /// How data is verified against the contents index; absent: by posture.
    pub data_verification: Option<DataVerification>,
    /// What makes events due: `stream_speedup` or `stream_rate`.
    pub pace: Pace,
    /// The order asked for; absent: that of the cursors being resumed.
    pub order: Option<OrderMode>,
    /// The event-time order's own settings.
    pub ordering: OrderSettings,
    /// Where the rebuildable time index is kept; `None`: under the runs root.
    pub time_index: Option<PathBuf>,
    /// The outputs that are traffic.
    pub traffic: Option<OutputList>,
    /// The outputs that give context to traffic.
    pub context: Option<OutputList>,
    /// Whether the context outputs are streamed too.
    pub stream_context: bool,
    /// The store that `s3://` locations are in.
    pub object_store: ObjectStoreConfig,
    /// Where engine run roots live.
    pub oracle_root: Option<String>,
    /// The engine run root.
    pub engine_run_root: Option<String>,
    /// The scenario of the world.
    pub scenario_id: Option<String>,
    /// The catalogue's path.
    pub catalogue_path: Option<String>,
    /// The gate map's path; absent: beside the catalogue.
    pub gate_map_path: Option<String>,
    /// The ingestion gate.
    pub ig_ingest_url: Option<String>,
    /// The header that carries the token.
    pub api_key_header: String,
    /// The token.
    pub auth_token: Option<Secret>,
    /// Where cursors are kept.
    pub checkpoint: CheckpointSettings,
    /// Who produces.
    pub producer: ProducerSettings,
    /// How failed pushes are retried.
    pub retry: RetrySettings,
    /// How events are pushed.
    pub push: PushSettings,
    /// What becomes of events that the gate will not have.
    pub rejects: RejectSettings,
    /// The platform's runs root: audit, active run id, time index.
    pub runs_root: PathBuf,
    /// What is unwise and allowed in local posture, for the log.
    pub warnings: Vec<String>,
}

impl Profile {
    /// Reads and checks a profile file.
    ///
    /// # Errors
    /// `PROFILE_UNREADABLE`, `PROFILE_INVALID`, `PROFILE_KEY_UNKNOWN`,
    /// `PROFILE_SECRET_LITERAL`.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, Error> {
        let text = read_text(path).map_err(|source| {
            Error::caused(
                ReasonCode::ProfileUnreadable,
                format!("The profile {} cannot be read", path.display()),
                "Name a profile with --profile; config/platform/profiles/ holds four.",
                source,
            )
        })?;
        Self::parse(&text, path, env)
    }

    /// Checks the text of a profile that stands at `path`.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn parse(text: &str, path: &Path, env: Env<'_>) -> Result<Self, Error> {
        let document = Document::parse(text, path, env)?;
        settings::check_known_keys(&document)?;
        let profile_id = document.text("profile_id")?.unwrap_or_default();
        let posture = posture(&document, &profile_id)?;
        let mut warnings = Vec::new();
        refuse_passwords_in_urls(&document, posture, &mut warnings)?;
        let catalogue_path = document
            .text("wiring.engine_catalogue_path")?
            .or_else(|| (posture == Posture::Local).then(|| DEFAULT_CATALOGUE.to_owned()));
        let profile = Self {
            path: path.to_owned(),
            posture,
            policy_rev: document.text("policy.policy_rev")?,
            require_gate_pass: require_gate_pass(&document, posture, &mut warnings)?,
            gate_verification: gate_verification(&document, posture)?,
            data_verification: data_verification(&document)?,
            pace: settings::pace(&document)?,
            order: document.parsed("policy.stream_order", "event_time or as_written")?,
            ordering: settings::ordering(&document)?,
            time_index: settings::time_index(&document)?,
            traffic: output_list(&document, "policy.traffic_output_ids")?,
            context: output_list(&document, "policy.context_output_ids")?,
            stream_context: flag(&document, "policy.stream_context", false)?,
            object_store: ObjectStoreConfig {
                endpoint: document.text("wiring.object_store.endpoint")?,
                region: document.text("wiring.object_store.region")?,
                path_style: document.parsed("wiring.object_store.path_style", "true or false")?,
            },
            oracle_root: document.text("wiring.oracle_root")?,
            engine_run_root: document.text("wiring.oracle_engine_run_root")?,
            scenario_id: document.text("wiring.oracle_scenario_id")?,
            catalogue_path,
            gate_map_path: document.text("wiring.gate_map_path")?,
            ig_ingest_url: document.text("wiring.ig_ingest_url")?,
            api_key_header: document
                .text("wiring.security.api_key_header")?
                .unwrap_or_else(|| "X-IG-Api-Key".to_owned()),
            auth_token: auth_token(&document, posture, &mut warnings)?,
            checkpoint: CheckpointSettings::read(&document, posture, &mut warnings)?,
            producer: ProducerSettings::read(&document)?,
            retry: RetrySettings::read(&document)?,
            push: PushSettings::read(&document)?,
            rejects: settings::rejects(&document)?,
            runs_root: document
                .text("wiring.wsp_audit.root")?
                .unwrap_or_else(|| DEFAULT_RUNS_ROOT.to_owned())
                .into(),
            profile_id,
            warnings,
        };
        profile.check_places()?;
        Ok(profile)
    }

    /// A value that this command needs.
    ///
    /// # Errors
    /// `PROFILE_VALUE_MISSING` naming the key and the flag that stands for it.
    pub fn require<'a>(value: Option<&'a String>, key: &str, flag: &str) -> Result<&'a str, Error> {
        value
            .map(String::as_str)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| {
                let or_flag = if flag.is_empty() {
                    String::new()
                } else {
                    format!(" or give {flag}")
                };
                Error::new(
                    ReasonCode::ProfileValueMissing,
                    format!("The profile's `{key}` is not set, or its variable is not"),
                    format!("Set it{or_flag}."),
                )
            })
    }

    /// Where a file reference of this profile points: as it stands if absolute
    /// or there from the working directory, else beside the profile.
    pub fn resolve_ref(&self, reference: &str) -> PathBuf {
        let path = Path::new(reference);
        if path.is_absolute() || path.exists() {
            return path.to_owned();
        }
        let beside = self.path.parent().map(|folder| folder.join(path));
        beside
            .filter(|beside| beside.exists())
            .unwrap_or_else(|| path.to_owned())
    }

    /// The ids of an output list, opening its file if it has one.
    ///
    /// # Errors
    /// `PROFILE_REF_UNREADABLE` naming the file.
    pub fn read_outputs(&self, list: &OutputList) -> Result<Vec<String>, Error> {
        let reference = match list {
            OutputList::Inline(ids) => return Ok(ids.clone()),
            OutputList::Ref(reference) => reference,
        };
        let path = self.resolve_ref(reference);
        let unreadable = |why: String| {
            Error::new(
                ReasonCode::ProfileRefUnreadable,
                format!("The output list {} cannot be read: {why}", path.display()),
                "It is a YAML list of output ids, or a mapping with `output_ids`.",
            )
        };
        let text = read_text(&path).map_err(|error| unreadable(error.to_string()))?;
        document::parse_output_list(&text).map_err(unreadable)
    }

    /// Refuses (strict) or warns of (local) a token that would leave this host
    /// over plain http.
    ///
    /// # Errors
    /// `PROFILE_TOKEN_IN_CLEAR`.
    pub fn check_token_travels_safely(&self, endpoint: &PushEndpoint) -> Result<(), Error> {
        let follows_proxies = self.push.client == PushClientKind::Reqwest && !endpoint.is_https();
        let environment = |name: &str| std::env::var(name).ok();
        let proxy = follows_proxies
            .then(|| clear_text_proxy(endpoint.host(), &environment))
            .flatten();
        let reader = match proxy {
            _ if endpoint.sends_in_clear_to_other_host() => "to another host".to_owned(),
            Some(variable) => format!("to the proxy that `{variable}` names"),
            None => return Ok(()),
        };
        if self.posture == Posture::Strict {
            return Err(Error::new(
                ReasonCode::ProfileTokenInClear,
                format!(
                    "The token of `wiring.security.wsp_auth_token` would travel over plain http \
                     {reader}"
                ),
                "Use an https `ig_ingest_url`, or name the gate in `no_proxy`.",
            ));
        }
        tracing::warn!("the token travels over plain http {reader}; strict posture refuses this");
        Ok(())
    }
}

/// Reads a text file that people write (a pipe or a device is refused), without the byte order mark of some editors.
pub(crate) fn read_text(path: &Path) -> std::io::Result<String> {
    let bytes = read_named_file(path)?;
    let mut text = String::from_utf8(bytes).map_err(|error| {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error())
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

fn posture(document: &Document<'_>, profile_id: &str) -> Result<Posture, Error> {
    match document.text("policy.posture")?.as_deref() {
        Some("local") => Ok(Posture::Local),
        Some("strict") => Ok(Posture::Strict),
        Some(other) => Err(invalid(
            "policy.posture",
            &format!("is {}, not local or strict", places::shown(other)),
        )),
        None if matches!(profile_id, "local" | "dev_local" | "local_parity") => Ok(Posture::Local),
        None => Ok(Posture::Strict),
    }
}

fn require_gate_pass(
    document: &Document<'_>,
    posture: Posture,
    warnings: &mut Vec<String>,
) -> Result<bool, Error> {
    let required = flag(document, "policy.require_gate_pass", true)?;
    match (required, posture) {
        (true, _) => Ok(true),
        (false, Posture::Local) => {
            warnings.push("gates are waived (require_gate_pass: false)".to_owned());
            Ok(false)
        }
        (false, Posture::Strict) => {
            warnings.push("require_gate_pass: false has no effect in strict posture".to_owned());
            Ok(true)
        }
    }
}

fn gate_verification(document: &Document<'_>, posture: Posture) -> Result<VerificationMode, Error> {
    const KEY: &str = "policy.gate_verification";
    match (document.text(KEY)?.as_deref(), posture) {
        (Some("digest"), _) | (None, Posture::Strict) => Ok(VerificationMode::Digest),
        (Some("presence") | None, Posture::Local) => Ok(VerificationMode::Presence),
        (Some("presence"), Posture::Strict) => Err(invalid(
            KEY,
            "is `presence`, which strict posture does not allow",
        )),
        (Some(other), _) => Err(invalid(
            KEY,
            &format!("is {}, not presence or digest", places::shown(other)),
        )),
    }
}

fn data_verification(document: &Document<'_>) -> Result<Option<DataVerification>, Error> {
    const KEY: &str = "policy.data_verification";
    match document.text(KEY)?.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(DataVerification::None)),
        Some("size") => Ok(Some(DataVerification::Size)),
        Some("sha256") => Ok(Some(DataVerification::Sha256)),
        Some(other) => Err(invalid(
            KEY,
            &format!("is {}, not none, size or sha256", places::shown(other)),
        )),
    }
}

fn output_list(document: &Document<'_>, key: &str) -> Result<Option<OutputList>, Error> {
    if let Some(ids) = document.texts(key)? {
        return Ok(Some(OutputList::Inline(ids)));
    }
    Ok(document.text(&format!("{key}_ref"))?.map(OutputList::Ref))
}

fn auth_token(
    document: &Document<'_>,
    posture: Posture,
    warnings: &mut Vec<String>,
) -> Result<Option<Secret>, Error> {
    const KEY: &str = "wiring.security.wsp_auth_token";
    let Some(scalar) = document.scalar(KEY)? else {
        return Ok(None);
    };
    if secret::token_is_literal(&scalar.template) {
        literal_credential(KEY, posture, warnings)?;
    }
    Ok(scalar
        .value
        .filter(|token| !token.is_empty())
        .map(Secret::new))
}

/// Looks for passwords in URLs that have no business to hold any.
fn refuse_passwords_in_urls(
    document: &Document<'_>,
    posture: Posture,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    for key in ["wiring.ig_ingest_url", "wiring.object_store.endpoint"] {
        if let Some(url) = document.scalar(key)?
            && secret::holds_literal_password(&url.template)
        {
            literal_credential(key, posture, warnings)?;
        } else if let Some(url) = document.text(key)?
            && places::holds_credentials(&url)
        {
            // Not repeated: it came from the environment, where nobody sees it.
            let problem = "holds a user and a password, and an address is needed; credentials \
                           have keys and variables of their own";
            return Err(invalid(key, problem));
        }
    }
    Ok(())
}

/// A credential written into the file: refused (strict) or warned of (local).
fn literal_credential(
    key: &str,
    posture: Posture,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if posture == Posture::Strict {
        return Err(Error::new(
            ReasonCode::ProfileSecretLiteral,
            format!("The profile's `{key}` holds a credential as a literal"),
            "Name an environment variable instead: ${VAR}.",
        ));
    }
    warnings.push(format!(
        "`{key}` holds a credential as a literal; name a ${{VAR}} instead"
    ));
    Ok(())
}

fn flag(document: &Document<'_>, key: &str, default: bool) -> Result<bool, Error> {
    Ok(document.parsed(key, "true or false")?.unwrap_or(default))
}

#[cfg(test)]
mod tests;
