//! Streaming, mergeable classification metrics that say why a value is undefined.
