//! Tests of the compiler: documents in, steps out.
