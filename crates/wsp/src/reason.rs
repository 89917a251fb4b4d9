//! The closed list of reason codes that the stream itself gives.
//!
//! Codes are API: an operator's runbook and a platform's alerts match on them.
//! The crates below (`oracle-store`, `gates`, `envelope`, `checkpoint`, `push`) own the
//! codes of their own rooms; [`all_reason_codes`] lists the union, and a test
//! holds `docs/reason-codes.md` against it.

model::reason_codes! {
    /// Why the stream was refused, failed or ended early. The text form is API.
    pub enum ReasonCode {
        /// The profile file cannot be read or is not YAML.
        ProfileUnreadable => "PROFILE_UNREADABLE", Usage,
            "Name a profile; `config/platform/profiles/` holds four.";
        /// A key of the profile, or a flag that stands for one, has an unusable value.
        ProfileInvalid => "PROFILE_INVALID", Usage,
            "Mend the key that is named; `docs/reference/profile.md` lists every key.";
        /// A key inside one of WSP's own blocks is not known.
        ProfileKeyUnknown => "PROFILE_KEY_UNKNOWN", Usage,
            "Correct the spelling; the message lists the known keys.";
        /// A value that this command needs is absent (or its `${VAR}` is unset).
        ProfileValueMissing => "PROFILE_VALUE_MISSING", Usage,
            "Set the key, its variable, or the flag that is named.";
        /// A credential stands in the profile as a literal (strict posture).
        ProfileSecretLiteral => "PROFILE_SECRET_LITERAL", Usage,
            "Name an environment variable instead: `${VAR}`.";
        /// A token would travel over plain http to another host (strict posture).
        ProfileTokenInClear => "PROFILE_TOKEN_IN_CLEAR", Usage,
            "Use an https `ig_ingest_url`.";
        /// A file that the profile refers to cannot be read.
        ProfileRefUnreadable => "PROFILE_REF_UNREADABLE", Usage,
            "Mend the file, or the reference to it.";
        /// A value of a program's request is missing or out of its range.
        RequestInvalid => "REQUEST_INVALID", Usage,
            "Mend the value that is named.";
        /// There is no such shard: `0 ≤ K < N` does not hold, or it is not named.
        ShardInvalid => "SHARD_INVALID", Usage,
            "Name it with `--shard K/N`, 0 ≤ K < N.";
        /// A shard of several is paced by event time, and nothing says when which event time is due.
        ShardScheduleUnfixed => "SHARD_SCHEDULE_UNFIXED", Usage,
            "Give all shards the same `--start-at` and `--time-origin`; `plan` proposes both.";
        /// A file is not the plan with ids, or the report, that a merge needs.
        MergeReportUnreadable => "MERGE_REPORT_UNREADABLE", Usage,
            "Name what `plan --ids` and `stream` printed.";
        /// A report is of another stream than the plan's, or of another run than the others.
        MergePlanMismatch => "MERGE_PLAN_MISMATCH", Refused,
            "Merge the reports of one stream against its own plan.";
        /// No report is of some shard of the plan.
        MergeReportMissing => "MERGE_REPORT_MISSING", Failed,
            "Find the report, or run that shard again: its cursors count what it has done.";
        /// What all shards have done is not what was planned.
        MergeIncomplete => "MERGE_INCOMPLETE", Failed,
            "Run the shards again: what is missing is streamed, and nothing is repeated.";
        /// The clock differs too much from the checkpoint store's for a paced shard.
        ShardClockSkewed => "SHARD_CLOCK_SKEWED", Refused,
            "Set the machine's clock, or raise `wsp_shard.max_clock_skew_ms`.";
        /// `checkpoint reset` without `--yes`.
        ResetNotConfirmed => "RESET_NOT_CONFIRMED", Usage,
            "Add `--yes`: the next run then streams everything again.";
        /// The policy's list of outputs is absent or empty.
        NoTrafficOutputs => "NO_TRAFFIC_OUTPUTS", Refused,
            "List at least one output in the policy.";
        /// An output is not in the catalogue.
        OutputUnknown => "OUTPUT_UNKNOWN", Refused,
            "Check the spelling, and that catalogue and world are of one engine release.";
        /// An output was asked for that the policy does not list.
        OutputNotInPolicy => "OUTPUT_NOT_IN_POLICY", Refused,
            "Add it to the policy, or ask for another.";
        /// An output without a primary key: every row would get one id.
        PrimaryKeyUndefined => "PRIMARY_KEY_UNDEFINED", Refused,
            "Stream another output, or have the catalogue define its key.";
        /// The profile names no producer.
        ProducerIdMissing => "PRODUCER_ID_MISSING", Refused,
            "Set `wsp_producer.producer_id`.";
        /// The profile names no allowlist, or the file is not there.
        ProducerAllowlistMissing => "PRODUCER_ALLOWLIST_MISSING", Refused,
            "Set `wsp_producer.allowlist_ref` to a file that is there.";
        /// The allowlist is there and cannot be read.
        ProducerAllowlistUnreadable => "PRODUCER_ALLOWLIST_UNREADABLE", Refused,
            "Mend the file or its permissions.";
        /// The allowlist holds no id.
        ProducerAllowlistEmpty => "PRODUCER_ALLOWLIST_EMPTY", Refused,
            "Write one id a line.";
        /// The producer is not on the allowlist.
        ProducerNotAllowed => "PRODUCER_NOT_ALLOWED", Refused,
            "Have the id added, or use another.";
        /// A threshold (`abort_if`) was broken, and the run ended in good order.
        ThresholdAborted => "THRESHOLD_ABORTED", Refused,
            "Find out why, or mend the threshold; a rerun goes on behind the cursors.";
        /// An event that is to be given up does not wait in the quarantine.
        QuarantineEventUnknown => "QUARANTINE_EVENT_UNKNOWN", Refused,
            "Name it by the `event_id` of its line.";
    }
    + /// The streaming core's own code.
    Replay(replay::ReasonCode)
}

impl From<replay::ReasonCode> for ReasonCode {
    fn from(code: replay::ReasonCode) -> Self {
        Self::Replay(code)
    }
}

/// Every reason code that any crate of the workspace can give, in the order of
/// the layers that own them.
pub fn all_reason_codes() -> Vec<&'static str> {
    let mut codes: Vec<&'static str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    codes.extend(replay::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.extend(
        oracle_store::ReasonCode::ALL
            .iter()
            .map(|code| code.as_str()),
    );
    codes.extend(gates::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.extend(push::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.extend(envelope::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.extend(checkpoint::ReasonCode::ALL.iter().map(|code| code.as_str()));
    codes.sort_unstable();
    codes.dedup();
    codes
}
