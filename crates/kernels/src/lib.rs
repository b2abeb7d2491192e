//! CPU arithmetic: every kernel is written once, generic over an instruction set ([`isa::Isa`]),
//! compiled for each [`Level`] and chosen at run time.
//!
//! All matrices are row-major `f32`. Every output row is computed in an order that does not depend
//! on the other rows, on how work is split, or on the number of threads: a text embedded alone and
//! in a batch gives the same bits.

pub mod attention;
mod cosine;
mod dtype;
pub mod gemm;
pub mod grid;
pub mod isa;
pub mod layer_norm;
mod math;
mod median;
pub mod memory;
pub mod peak;
pub mod pooling;
mod precision;
pub mod random;
pub mod rope;
mod rows;
pub mod scan;
pub mod threads;
mod transpose;
pub mod turns;

pub use cosine::cosine;
pub use dtype::DType;
pub use isa::Level;
pub use median::median;
pub use precision::Precision;
