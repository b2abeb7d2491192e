//! The choice of cuBLASLt's algorithm for a product: once per shape, among algorithms that give the
//! same bits.

use super::descriptors::{Layouts, Product, ProductShape};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::memory::{Memory, noise};
use cudarc::cublaslt::sys;

/// Number of rows for which the algorithm of a layer's product is chosen. All algorithms in use
/// give the same bits, so that a row's result does not depend on the rest of the batch.
const MANY_ROWS: usize = 8192;
/// Up to this number of rows, another algorithm is chosen, as it may be faster.
const FEW_ROWS: usize = 128;
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
    /// The algorithm for products of `rows` rows.
    pub(crate) fn for_rows(&self, rows: usize) -> &MatmulAlgo {
        if rows <= FEW_ROWS { &self.few } else { &self.many }
    }

    /// The fastest algorithms for few and for many rows among those that give the bits of the
    /// library's first choice.
    pub(super) fn choose(gpu: &Gpu, shape: ProductShape) -> Result<Self> {
        let trial = Trial::new(gpu, shape)?;
        let candidates = trial.candidates(MANY_ROWS)?;
        let first = *candidates.first().ok_or(Error::NoAlgorithm)?;
        let want = trial.bits(&first)?;
        let candidates_for_few = trial.candidates(FEW_ROWS)?;
        Ok(Self {
            few: trial.fastest(FEW_ROWS, &candidates_for_few, &want)?.unwrap_or(first),
            many: trial.fastest(MANY_ROWS, &candidates, &want)?.unwrap_or(first),
        })
    }
}

/// Products of random values.
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
            x: rows(MANY_ROWS, inputs)?,
            out: rows(MANY_ROWS, outputs)?,
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
        assert!(rows <= MANY_ROWS, "the matrices have {MANY_ROWS} rows");
        let matrices = [&self.weights, &self.x, &self.out].map(|memory| self.gpu.address(memory));
        let (product, layouts) = (self.product()?, self.layouts(rows)?);
        // SAFETY: `new` has uploaded matrices of the shape, with as many rows or more.
        unsafe { self.gpu.blas.run(&self.gpu.stream, &product, &layouts, matrices, algorithm) }
    }

    /// The bits of the first [`FEW_ROWS`] rows.
    fn bits(&self, algorithm: &MatmulAlgo) -> Result<Vec<u8>> {
        self.run(FEW_ROWS, algorithm)?;
        self.gpu.download(&self.out, FEW_ROWS * self.shape.outputs * self.gpu.dtype.len_bytes())
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
            // The library may refuse an algorithm that it has suggested.
            let Ok(bits) = self.bits(algorithm) else { continue };
            if bits != want {
                continue;
            }
            let ms = self.gpu.time(REPEATS, &mut || self.run(rows, algorithm))?;
            if best.is_none_or(|(fastest_ms, _)| ms < fastest_ms) {
                best = Some((ms, *algorithm));
            }
        }
        Ok(best.map(|(_, algorithm)| algorithm))
    }
}
