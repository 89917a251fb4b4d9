//! The closed list of reason codes that the streaming core gives.

model::reason_codes! {
    /// Why a stream failed or ended early. The text form is API.
    pub enum ReasonCode {
        /// A row would come before one that was already sent, or a part is not in time order
        /// and may not or cannot be sorted.
        EventTimeDisorder => "EVENT_TIME_DISORDER", Refused,
            "Allow sorting (`on_disorder: sort`), or stream `as_written`.";
        /// What is not in time order takes more than the sort cache may have.
        SortCacheTooSmall => "SORT_CACHE_TOO_SMALL", Refused,
            "Raise `wsp_order.sort_cache_mib` where the disk has room, stream fewer outputs, or stream `as_written`.";
        /// The sort cache cannot be made, locked, written or read: a full disk, or rights.
        SortCacheUnwritable => "SORT_CACHE_UNWRITABLE", Failed,
            "Free space (`wsp-cli cache clear`), mend the folder, or name one on another disk (`wsp_order.sort_cache`).";
        /// A sorted part in the cache is damaged; it was removed.
        SortCacheDamaged => "SORT_CACHE_DAMAGED", Failed,
            "Run again: the part is sorted anew, and the stream goes on. If it comes again, look at the disk.";
        /// More parts overlap in event time than the memory budget allows.
        MemoryBudgetExceeded => "MEMORY_BUDGET_EXCEEDED", Refused,
            "Raise `wsp_order.memory_budget_mib`, stream fewer outputs at once, stream `as_written`, or write the part with smaller pages and rows.";
        /// More parts overlap in event time than the process may have files open.
        FileHandlesExceeded => "FILE_HANDLES_EXCEEDED", Refused,
            "Raise the limit (`ulimit -n`), stream fewer outputs at once, or stream `as_written`.";
        /// The process may not have the threads or the address space that it needs.
        ProcessLimitExceeded => "PROCESS_LIMIT_EXCEEDED", Refused,
            "Raise the limit that it names (`ulimit -u`, `ulimit -v`, `pids.max` of the control group).";
        /// The audit log cannot be written (strict posture).
        AuditUnwritable => "AUDIT_UNWRITABLE", Failed,
            "Make `wsp_audit.root` a folder or a bucket that can be written.";
        /// The ingestion gate gave a final refusal.
        IgPushRejected => "IG_PUSH_REJECTED", Refused,
            "Read the answer in the message; mend what it names; after 401 or 403 renew the token. A rerun resumes with the same event.";
        /// As many events lie in the quarantine as may.
        QuarantineLimit => "QUARANTINE_LIMIT", Refused,
            "Find out why the gate rejects them, then `wsp-cli redrive`, or raise the limit. A rerun resumes.";
        /// A rejected event cannot be set aside durably.
        QuarantineUnwritable => "QUARANTINE_UNWRITABLE", Failed,
            "Mend the file or its disk. No cursor has passed the event: a rerun resumes with it.";
        /// A quarantine file is missing, damaged, or cannot be read.
        QuarantineUnreadable => "QUARANTINE_UNREADABLE", Failed,
            "Name one that is there; restore a file that somebody changed.";
        /// Another redrive works on the same quarantine file.
        RedriveHeld => "REDRIVE_HELD", Refused,
            "Wait for it, or end it. What it delivered is not pushed again.";
        /// The ingestion gate answered 2xx without a decision.
        IgResponseUnknown => "IG_RESPONSE_UNKNOWN", Failed,
            "Look whether `ig_ingest_url` names an ingestion gate. A rerun resumes here.";
        /// The ingestion gate does not know whether an event is on its bus, and does not find out.
        IgPublishAmbiguous => "IG_PUBLISH_AMBIGUOUS", Failed,
            "Look on the bus whether it is there. A rerun asks again; `on_reject: quarantine` sets such events aside, and `redrive --give-up ID` closes one.";
        /// The ingestion gate quarantined an event, and `on_gate_quarantine` is `stop`.
        GateQuarantined => "GATE_QUARANTINED", Refused,
            "Read its reason codes in the message and mend what they name. A rerun resumes with the same event.";
        /// The ingestion gate quarantined as many different events of the platform run as it may.
        GateQuarantineLimit => "GATE_QUARANTINE_LIMIT", Refused,
            "Find out why the gate quarantines them, or raise `max_gate_quarantined`. A rerun resumes.";
        /// The ingestion gate quarantined every event: nothing reached the platform.
        GateQuarantinedAll => "GATE_QUARANTINED_ALL", Refused,
            "Compare the payloads with what the gate's schema policy asks for. Reruns say the same until a reset or an ADMIT.";
        /// The file of receipts cannot be written.
        ReceiptsUnwritable => "RECEIPTS_UNWRITABLE", Failed,
            "Mend the file or its disk. No cursor has passed an event without its line: a rerun resumes.";
        /// The ingestion gate was away for longer than `give_up_after_s`.
        IgPushRetryExhausted => "IG_PUSH_RETRY_EXHAUSTED", Failed,
            "Bring the gate back. A rerun resumes here.";
        /// A stage of the stream ended without saying why: a defect of this program.
        StreamInternal => "STREAM_INTERNAL", Failed,
            "Report it with the log. A rerun resumes.";
        /// The run did not end in the time that a stop may take.
        StopOverdue => "STOP_OVERDUE", Failed,
            "Look at the disks that audit, quarantine and cursors are on; a rerun resumes, and repeats what is not saved.";
        /// The run was bounded by `--max-events` and got there.
        MaxEvents => "MAX_EVENTS", Stopped,
            "Nothing: the run did what was asked (exit status 0).";
        /// The run was stopped by a signal or by its caller.
        Stopped => "STOPPED", Stopped,
            "Nothing: a rerun resumes (exit status 3).";
    }
}
