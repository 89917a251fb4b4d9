//! The sample catalogue and gate map, embedded so that a world can be built
//! without a checkout.

/// The sample catalogue: nine outputs that cover every form of path template.
pub const CATALOGUE: &str = include_str!("../../../contracts/engine_outputs.catalogue.yaml");

/// The sample gate map: four gates that cover every verification method.
pub const GATE_MAP: &str = include_str!("../../../contracts/engine_gates.map.yaml");
