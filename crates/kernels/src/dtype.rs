//! The type of an element.

/// The type of the elements of weights, and of states on a card. Sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// On a card for checking only: no tensor cores.
    F32,
    /// Cards of compute capability 7.0 and later.
    F16,
    /// Cards of compute capability 8.0 and later.
    Bf16,
}

impl DType {
    /// Bytes of an element.
    pub fn len_bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// The name, with which the names of kernels end.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}
