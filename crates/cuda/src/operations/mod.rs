//! The operations, one per file: safe methods of [`Gpu`](crate::Gpu), which check every shape and
//! index before they start a kernel.

mod activation;
mod attention;
mod batch;
mod embed;
mod linear;
mod lora;
mod norm;
mod pool;
mod rotate;

pub use activation::Gate;
pub use attention::{Attention, Position};
pub use batch::PackedBatch;
pub use embed::Embedding;
pub use linear::{Layer, Linear};
pub use norm::Norm;

use crate::constants::{OCTET, PLAIN_PARTS, WARP, WIDE_ROW};
use crate::error::{Error, Result};
use crate::gpu::Gpu;

impl Gpu {
    /// Checks that the kernels support a model of these sizes.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if not.
    pub fn check_shape(
        &self,
        [hidden, ffn_hidden, head_dim]: [usize; 3],
        rotary: bool,
    ) -> Result<()> {
        let check = |what, found, fits: bool, needed| {
            if fits { Ok(()) } else { Err(Error::Shape { what, found, needed }) }
        };
        let octets = |x: usize| x.is_multiple_of(OCTET);
        let fits = octets(hidden) && hidden <= WIDE_ROW;
        check("hidden size", hidden, fits, "a multiple of 8, up to 2048")?;
        check("feed-forward size", ffn_hidden, octets(ffn_hidden), "a multiple of 8")?;
        let whole = !rotary || head_dim.is_multiple_of(2 * OCTET);
        let fits = whole && head_dim <= PLAIN_PARTS * WARP;
        check("head size", head_dim, fits, "a multiple of 16, up to 256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Arguments;

    /// Fails unless the parameters of kernel `name` in `kokeshi.cu` are those of `A`.
    #[track_caller]
    fn check<A: Arguments>(name: &str) {
        let source = include_str!("../../kernels/kokeshi.cu").replace('\\', " ");
        let start = source.find(&format!(" {name}(")).unwrap_or_else(|| panic!("no kernel {name}"));
        let list = source[start..].split_once('(').expect("parameters").1;
        let list = list.split_once(')').expect("an end of the parameters").0;
        let parameters: Vec<(String, &str)> = list
            .split(',')
            .map(|parameter| {
                let (kind, name) = parameter.trim().rsplit_once(' ').expect("a type and a name");
                let kind = match kind.trim() {
                    "int" => "i32",
                    "float" => "f32",
                    "const __grid_constant__ TensorMap" => "TensorMap",
                    kind if kind.ends_with('*') => "Address",
                    other => panic!("{name}: a parameter of type {other}"),
                };
                (name.to_owned(), kind)
            })
            .collect();
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(n, k)| (&**n, *k)).collect();
        assert_eq!(A::PARAMETERS, parameters, "{name}");
    }

    #[test]
    fn the_arguments_of_every_kernel_are_its_parameters() {
        check::<embed::EmbedArguments>("embed_##NAME");
        check::<norm::AddNormArguments>("add_norm_4_##NAME");
        check::<norm::AddNormArguments>("add_norm_8_##NAME");
        check::<lora::LoraDownArguments>("lora_down_##NAME");
        for kernel in ["gelu_##NAME", "geglu_##NAME", "reglu_##NAME"] {
            check::<activation::ActivateArguments>(kernel);
        }
        check::<activation::GeluRowsArguments>("gelu_rows_##NAME");
        check::<rotate::RotateArguments>("rotate_##NAME");
        check::<pool::PoolArguments>("pool_##NAME");
        check::<attention::PlainArguments>("attend_plain_##NAME");
        check::<attention::MmaArguments>("attend_mma_rope_##DIM##_##NAME");
        check::<attention::MmaArguments>("attend_mma_alibi_##DIM##_##NAME");
        check::<attention::HopperArguments>("attend_hopper_rope_##NAME");
        check::<attention::HopperArguments>("attend_hopper_alibi_##NAME");
    }
}
