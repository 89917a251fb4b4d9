//! Decides whether outputs of a world may be read. No PASS, no read.
mod bundle;
mod clearance;
mod closure;
mod error;
mod flag;
mod gate_map;
mod hashing;
mod index;
mod item_path;
mod receipt;
mod schema;
mod strict_json;
mod verify;

pub use clearance::{Basis, Clearance, ClearanceRequest, ClearanceStatus, clear, verify_gates};
pub use error::{DigestPair, Error, ReasonCode};
pub use gate_map::{GateId, GateMap};
pub use receipt::{
    Artifact, ArtifactRole, BoundItem, FailureReceipt, GateReceipt, GateStatus, MethodReceipt,
    UnboundItem, UnboundReason, VerificationMode,
};
pub use schema::GATE_RECEIPT_SCHEMA;
