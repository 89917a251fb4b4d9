//! The closed list of reason codes of a push.

model::reason_codes! {
    /// Why an event was not pushed. The text form is API.
    pub enum ReasonCode {
        /// The URL, the token or the certificates for the ingestion gate cannot be used.
        IgEndpointInvalid => "IG_ENDPOINT_INVALID", Usage,
            "Correct the URL, the token or the certificates that the message names.";
        /// A post to the ingestion gate got no whole answer.
        IgNoAnswer => "IG_NO_ANSWER", Failed,
            "Look whether the gate runs and can be reached from here.";
        /// The ingestion gate gave a final refusal.
        IgPushRejected => "IG_PUSH_REJECTED", Refused,
            "Mend what the answer names; after 401 or 403 renew the token.";
        /// The ingestion gate answered 2xx without a decision.
        IgResponseUnknown => "IG_RESPONSE_UNKNOWN", Failed,
            "Look whether the URL names an ingestion gate.";
        /// The ingestion gate does not know whether an event is on its bus, and does not find out.
        IgPublishAmbiguous => "IG_PUBLISH_AMBIGUOUS", Failed,
            "Look on the bus whether the event is there; another push asks again.";
        /// The ingestion gate, or one event, kept failing for as long as the policy retries.
        IgPushRetryExhausted => "IG_PUSH_RETRY_EXHAUSTED", Failed,
            "Bring the gate back, then push again.";
        /// The caller ended the push.
        Stopped => "STOPPED", Stopped,
            "Nothing: push the event again later; the gate knows it by its id.";
    }
}
