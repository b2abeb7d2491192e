//! Which of cuBLASLt's algorithms computes a product: chosen once for each shape, among those that
//! give the same bits.

use super::descriptors::{Layouts, Product, ProductShape};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::memory::{Memory, noise};
use cudarc::cublaslt::sys;

/// Rows for which the algorithm of a layer's product is chosen, once. All algorithms in use give
/// the same bits, so that those of a row do not depend on what else is in the batch.
const MANY: usize = 8192;
/// Up to this number of rows another algorithm may be faster.
const FEW: usize = 128;
/// Timed runs of each candidate.
const REPEATS: usize = 5;

/// How the library computes a product: its kernel, tile and order of sums.
pub(super) type MatmulAlgo = sys::cublasLtMatmulAlgo_t;

/// The algorithms of one shape.
#[derive(Clone, Copy)]
pub(crate) struct Algorithms {
    few: MatmulAlgo,
    many: MatmulAlgo,
}

impl Algorithms {
    /// That for products of `rows` rows.
    pub(crate) fn for_rows(&self, rows: usize) -> &MatmulAlgo {
        if rows <= FEW { &self.few } else { &self.many }
    }

    /// The fastest algorithms for few and for many rows among those that give the bits of the
    /// library's first choice.
    pub(super) fn choose(gpu: &Gpu, shape: ProductShape) -> Result<Self> {
        let trial = Trial::new(gpu, shape)?;
        let candidates = trial.candidates(MANY)?;
        let first = *candidates.first().ok_or(Error::NoAlgorithm)?;
        let want = trial.bits(&first)?;
        let few = trial.candidates(FEW)?;
        Ok(Self {
            few: trial.fastest(FEW, &few, &want)?.unwrap_or(first),
            many: trial.fastest(MANY, &candidates, &want)?.unwrap_or(first),
        })
    }
}

/// Products of random numbers.
struct Trial<'a> {
    gpu: &'a Gpu,
    shape: ProductShape,
    weights: Memory,
    x: Memory,
    out: Memory,
    bias: Memory,
}

impl<'a> Trial<'a> {
    fn new(gpu: &'a Gpu, shape: ProductShape) -> Result<Self> {
        let mut random = noise();
        let ProductShape { outputs, inputs, .. } = shape;
        let mut rows = |rows: usize, width: usize| gpu.upload_rows(rows, [width; 2], &mut random);
        Ok(Self {
            gpu,
            shape,
            weights: rows(outputs, inputs)?,
            x: rows(MANY, inputs)?,
            out: rows(MANY, outputs)?,
            bias: rows(1, outputs)?,
        })
    }

    fn product(&self) -> Result<Product> {
        Product::new(self.shape.has_bias.then(|| self.gpu.address(&self.bias)))
    }

    fn layouts(&self, rows: usize) -> Result<Layouts> {
        let lds = [self.shape.inputs, self.shape.outputs];
        Layouts::new(self.gpu.dtype, self.shape, rows as u64, lds)
    }

    /// The library's choices for `rows` rows, the best first.
    fn candidates(&self, rows: usize) -> Result<Vec<MatmulAlgo>> {
        self.product()?.candidates(&self.gpu.blas, &self.layouts(rows)?)
    }

    fn run(&self, rows: usize, algorithm: &MatmulAlgo) -> Result<()> {
        assert!(rows <= MANY, "matrices of {MANY} rows");
        let matrices = [&self.weights, &self.x, &self.out].map(|memory| self.gpu.address(memory));
        let (product, layouts) = (self.product()?, self.layouts(rows)?);
        // SAFETY: `new` has uploaded matrices of the shape, with as many rows or more.
        unsafe { self.gpu.blas.run(&self.gpu.stream, &product, &layouts, matrices, algorithm) }
    }

    /// The bits of the first `FEW` rows.
    fn bits(&self, algorithm: &MatmulAlgo) -> Result<Vec<u8>> {
        self.run(FEW, algorithm)?;
        self.gpu.download(&self.out, FEW * self.shape.outputs * self.gpu.dtype.len_bytes())
    }

    /// The fastest of `candidates` for `rows` rows that gives the bits `want`.
    fn fastest(
        &self,
        rows: usize,
        candidates: &[MatmulAlgo],
        want: &[u8],
    ) -> Result<Option<MatmulAlgo>> {
        let mut best = None;
        for algorithm in candidates {
            // The library may refuse what it has offered.
            let Ok(bits) = self.bits(algorithm) else { continue };
            if bits != want {
                continue;
            }
            let ms = self.gpu.time(REPEATS, &mut || self.run(rows, algorithm))?;
            if best.is_none_or(|(least, _)| ms < least) {
                best = Some((ms, *algorithm));
            }
        }
        Ok(best.map(|(_, algorithm)| algorithm))
    }
}
