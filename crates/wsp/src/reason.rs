//! The closed list of reason codes that the stream itself gives.
//!
//! Codes are API: an operator's runbook and a platform's alerts match on them.
//! The crates below (`oracle-store`, `gates`, `envelope`, `checkpoint`) own the
//! codes of their own rooms; [`all_reason_codes`] lists the union, and a test
//! holds `docs/reason-codes.md` against it.

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $variant:ident => $code:literal,)+) => {
        /// Why the stream was refused, failed or ended early.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ReasonCode {
            $($(#[$doc])* $variant,)+
        }

        impl ReasonCode {
            /// Every code, in the order in which a stream checks them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable, upper-snake-case form.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }
    };
}

reason_codes! {
    /// The profile file cannot be read or is not YAML.
    ProfileUnreadable => "PROFILE_UNREADABLE",
    /// A key of the profile, or a flag that stands for one, has an unusable value.
    ProfileInvalid => "PROFILE_INVALID",
    /// A key inside one of WSP's own blocks is not known.
    ProfileKeyUnknown => "PROFILE_KEY_UNKNOWN",
    /// A value that this command needs is absent (or its `${VAR}` is unset).
    ProfileValueMissing => "PROFILE_VALUE_MISSING",
    /// A credential stands in the profile as a literal (strict posture).
    ProfileSecretLiteral => "PROFILE_SECRET_LITERAL",
    /// A token would travel over plain http to another host (strict posture).
    ProfileTokenInClear => "PROFILE_TOKEN_IN_CLEAR",
    /// A file that the profile refers to cannot be read.
    ProfileRefUnreadable => "PROFILE_REF_UNREADABLE",
    /// `checkpoint reset` without `--yes`.
    ResetNotConfirmed => "RESET_NOT_CONFIRMED",
    /// The policy's list of outputs is absent or empty.
    NoTrafficOutputs => "NO_TRAFFIC_OUTPUTS",
    /// An output is not in the catalogue.
    OutputUnknown => "OUTPUT_UNKNOWN",
    /// An output was asked for that the policy does not list.
    OutputNotInPolicy => "OUTPUT_NOT_IN_POLICY",
    /// An output without a primary key: every row would get one id.
    PrimaryKeyUndefined => "PRIMARY_KEY_UNDEFINED",
    /// The profile names no producer.
    ProducerIdMissing => "PRODUCER_ID_MISSING",
    /// The profile names no allowlist, or the file is not there.
    ProducerAllowlistMissing => "PRODUCER_ALLOWLIST_MISSING",
    /// The allowlist is there and cannot be read.
    ProducerAllowlistUnreadable => "PRODUCER_ALLOWLIST_UNREADABLE",
    /// The allowlist holds no id.
    ProducerAllowlistEmpty => "PRODUCER_ALLOWLIST_EMPTY",
    /// The producer is not on the allowlist.
    ProducerNotAllowed => "PRODUCER_NOT_ALLOWED",
    /// The audit log cannot be written (strict posture).
    AuditUnwritable => "AUDIT_UNWRITABLE",
    /// A row would come before one that was already sent, or a part is not in time order
    /// and may not or cannot be sorted.
    EventTimeDisorder => "EVENT_TIME_DISORDER",
    /// More parts overlap in event time than the memory budget allows.
    MemoryBudgetExceeded => "MEMORY_BUDGET_EXCEEDED",
    /// More parts overlap in event time than the process may have files open.
    FileHandlesExceeded => "FILE_HANDLES_EXCEEDED",
    /// The process may not have the threads or the address space that it needs.
    ProcessLimitExceeded => "PROCESS_LIMIT_EXCEEDED",
    /// The ingestion gate gave a final refusal.
    IgPushRejected => "IG_PUSH_REJECTED",
    /// As many events lie in the quarantine as may.
    QuarantineLimit => "QUARANTINE_LIMIT",
    /// A rejected event cannot be set aside durably.
    QuarantineUnwritable => "QUARANTINE_UNWRITABLE",
    /// A quarantine file is missing, damaged, or cannot be read.
    QuarantineUnreadable => "QUARANTINE_UNREADABLE",
    /// Another redrive works on the same quarantine file.
    RedriveHeld => "REDRIVE_HELD",
    /// An event that is to be given up does not wait in the quarantine.
    QuarantineEventUnknown => "QUARANTINE_EVENT_UNKNOWN",
    /// The ingestion gate answered 2xx without a decision.
    IgResponseUnknown => "IG_RESPONSE_UNKNOWN",
    /// The ingestion gate does not know whether an event is on its bus, and does not find out.
    IgPublishAmbiguous => "IG_PUBLISH_AMBIGUOUS",
    /// The ingestion gate was away for longer than `give_up_after_s`.
    IgPushRetryExhausted => "IG_PUSH_RETRY_EXHAUSTED",
    /// A stage of the stream ended without saying why: a defect of this program.
    StreamInternal => "STREAM_INTERNAL",
    /// The run did not end in the time that a stop may take.
    StopOverdue => "STOP_OVERDUE",
    /// The run was bounded by `--max-events` and got there.
    MaxEvents => "MAX_EVENTS",
    /// The run was stopped by a signal or by its caller.
    Stopped => "STOPPED",
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every reason code that any crate of the workspace can give, in the order of
/// the layers that own them.
pub fn all_reason_codes() -> Vec<&'static str> {
    let mut codes: Vec<&'static str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    codes.extend(
        oracle_store::ReasonCode::ALL
            .iter()
            .map(|code| code.as_str()),
    );
    codes.extend(gates::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.extend(envelope::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.extend(checkpoint::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.sort_unstable();
    codes.dedup();
    codes
}
