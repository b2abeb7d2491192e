//! How products are computed: the one setting that trades exactness for speed.

use std::fmt;
use std::str::FromStr;

/// How products are computed. Sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// In f32.
    F32,
    /// Both factors are rounded to bf16. Fast on CPUs that have the instruction
    /// ([`Level::has_bf16_dot`](crate::Level::has_bf16_dot)).
    Bf16,
    /// Both factors are rounded to f16. Cards only.
    F16,
    /// Linear layers in eight bits; attention, whose factors have no fixed range, in bf16 where
    /// that is fast, and in f32 elsewhere. CPUs only.
    Int8,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::F16, Self::Int8];
    /// Those that the kernels of this crate compute in.
    pub const ON_CPU: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// The name that [`Precision::from_str`] accepts: `f32`, `bf16`, `f16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let precision = Self::ALL.into_iter().find(|precision| precision.name() == name);
        precision.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown precision `{name}`; the precisions are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_precision_is_parsed_from_what_it_displays() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert_eq!(
            "f8".parse::<Precision>(),
            Err("unknown precision `f8`; the precisions are f32, bf16, f16, int8".to_owned())
        );
    }
}
