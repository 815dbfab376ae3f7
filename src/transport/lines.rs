//! Cutting a growing byte stream into lines with a bound.
