//! The byte stream under a connection: plain TCP or TLS over it.
