//! Matrix products, by cuBLASLt.

use crate::Number;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::launch::Tiles;
use crate::memory::{Memory, noise};
use crate::states::States;
use cudarc::cublaslt::{result, sys};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::from_ref;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that the library may use of the card's memory, as it recommends for Hopper.
const WORKSPACE: usize = 32 << 20;
/// Rows for which the way of a layer's product is chosen, once. All ways in use give the same bits, so
/// that those of a row do not depend on what else is in the batch.
const MANY: usize = 8192;
/// Up to so many rows another way may be faster.
const FEW: usize = 128;
/// Ways that are tried.
const CHOICES: usize = 8;
/// How often each.
const REPEATS: usize = 5;
/// CUBLAS_OP_T, an enum of cuBLAS.
const TRANSPOSED: i32 = 1;

/// The library, and its memory.
pub(crate) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    known: Mutex<HashMap<Shape, Ways>>,
}

// SAFETY: the library allows use of a handle by any thread; the workspace is used in stream order.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

impl Blas {
    pub(crate) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        let workspace = stream.alloc_zeros(WORKSPACE).map_err(Error::allocation(WORKSPACE))?;
        Ok(Self { handle: result::create_handle()?, workspace, known: Mutex::default() })
    }

    /// The ways of a shape, found out once.
    fn ways(&self, gpu: &Gpu, shape: Shape) -> Result<Ways> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ways) = known.get(&shape) {
            return Ok(*ways);
        }
        let ways = Ways::find(gpu, shape)?;
        known.insert(shape, ways);
        Ok(ways)
    }

    /// Begins one product of W, x and its result, which lie at these addresses.
    fn run(
        &self,
        stream: &CudaStream,
        product: &Product,
        layouts: &Layouts,
        [a, b, c]: [u64; 3],
        way: &Way,
    ) -> Result<()> {
        let (one, zero) = (1.0_f32, 0.0_f32);
        let workspace = self.workspace.device_ptr(stream).0;
        // SAFETY: descriptors and layouts are alive; the matrices have the sizes that the layouts say,
        // by the assertions of the callers; scalars are f32 as the descriptor says, and read at once.
        let done = unsafe {
            result::matmul(
                self.handle,
                product.0,
                from_ref(&one).cast(),
                from_ref(&zero).cast(),
                a as *const c_void,
                layouts.a.0,
                b as *const c_void,
                layouts.b.0,
                c as *const c_void,
                layouts.c.0,
                c as *mut c_void,
                layouts.c.0,
                way,
                workspace as *mut c_void,
                WORKSPACE,
                stream.cu_stream().cast(),
            )
        };
        Ok(done?)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle was created with this value, and nothing else destroys it.
        unsafe { result::destroy_handle(self.handle) }.ok();
    }
}

/// A linear layer on the card: `y = x Wᵀ + bias`, with the low-rank update of each row's own task.
pub struct Linear {
    weights: Memory, // [outputs, inputs + tail]
    bias: Option<Memory>,
    pub(crate) lora: Option<Lora>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    product: Product,
    ways: Ways,
}

/// The first half of low-rank updates: A of all tasks. The second lies in the last columns of W.
pub(crate) struct Lora {
    pub(crate) a: Memory, // [tasks, rank, inputs]
    pub(crate) rank: usize,
    pub(crate) tail: usize,
}

/// What a layer is made of, in host memory.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Rows of W.
    pub outputs: usize,
    /// Columns of W.
    pub inputs: usize,
    /// `[outputs]`, or empty.
    pub bias: &'a [f32],
    /// A of all tasks, `[tasks, rank, inputs]`; empty if there are no updates.
    pub down: &'a [f32],
    /// B of all tasks, `[tasks, rank, outputs]`.
    pub up: &'a [f32],
    /// Of the updates.
    pub rank: usize,
}

impl Layer<'_> {
    /// Columns that W has for the updates of all tasks: a multiple of what the tensor cores take at once.
    pub fn tail(&self) -> usize {
        (self.up.len() / self.outputs.max(1)).next_multiple_of(32)
    }
}

impl Linear {
    /// Rows of W.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes on the card.
    pub fn len_bytes(&self) -> usize {
        let optional = [self.bias.as_ref(), self.lora.as_ref().map(|lora| &lora.a)];
        self.weights.len() + optional.into_iter().flatten().map(Memory::len).sum::<usize>()
    }

    /// Numbers that the layer wants behind each row of its input.
    pub(crate) fn tail(&self) -> usize {
        self.lora.as_ref().map_or(0, |lora| lora.tail)
    }
}

impl std::fmt::Debug for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Linear({} × {} + {})", self.outputs, self.inputs, self.tail())
    }
}

impl Gpu {
    /// Takes a layer to the card; `read` gives each row of W.
    ///
    /// # Errors
    ///
    /// If the card has no memory left, or fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn linear(
        &self,
        layer: &Layer<'_>,
        read: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<Linear> {
        let Layer { outputs, inputs, bias, down, up, rank } = *layer;
        assert_eq!(down.len() * outputs, up.len() * inputs, "as many updates down as up");
        let (tail, slots) = (layer.tail(), up.len() / outputs.max(1));
        let mut with_updates = |row: usize, to: &mut [f32]| {
            let (weights, tail) = to.split_at_mut(inputs);
            read(row, weights);
            tail.fill(0.0);
            for (slot, tail) in tail.iter_mut().enumerate().take(slots) {
                *tail = up[slot * outputs + row];
            }
        };
        let weights = self.upload_rows(outputs, [inputs + tail; 2], &mut with_updates)?;
        let one_row = |values: &[f32]| -> Result<Option<Memory>> {
            let mut copy = |_: usize, row: &mut [f32]| row.copy_from_slice(values);
            (!values.is_empty())
                .then(|| self.upload_rows(1, [values.len(); 2], &mut copy))
                .transpose()
        };
        let (bias, a) = (one_row(bias)?, one_row(down)?);
        let product = Product::new(bias.as_ref().map(|bias| self.address(bias)))?;
        let shape = Shape { outputs, inputs: inputs + tail, bias: bias.is_some() };
        let ways = self.blas.ways(self, shape)?;
        let lora = a.map(|a| Lora { a, rank, tail });
        Ok(Linear { weights, bias, lora, outputs, inputs, product, ways })
    }

    /// `out = x Wᵀ + bias` with each row's own low-rank update, whose tail is made first where the
    /// operation that gave `x` has not.
    ///
    /// # Errors
    ///
    /// If the library or the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn project(
        &self,
        x: &States,
        tiles: &Tiles,
        linear: &Linear,
        out: &mut States,
    ) -> Result<()> {
        if linear.lora.is_some() && !x.has_tail.get() {
            self.lora_down(x, tiles, linear)?;
        }
        self.multiply(x, linear, out)
    }

    /// `out = x Wᵀ + bias`, over the states and their tails.
    ///
    /// # Errors
    ///
    /// If the library or the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn multiply(&self, x: &States, linear: &Linear, out: &mut States) -> Result<()> {
        let inputs = linear.inputs + linear.tail();
        assert!(x.width == linear.inputs && x.ld >= inputs, "{x:?} for {linear:?}");
        assert_eq!((out.rows, out.width), (x.rows, linear.outputs), "the product's shape");
        out.has_tail.set(false);
        let shape = Shape { outputs: linear.outputs, inputs, bias: linear.bias.is_some() };
        let layouts = Layouts::new(self.number, shape, x.rows as u64, [x.ld, out.ld])?;
        let matrices = [&linear.weights, x.memory(), out.memory()].map(|m| self.address(m));
        let way = linear.ways.of(x.rows);
        self.blas.run(&self.stream, &linear.product, &layouts, matrices, way)
    }

    pub(crate) fn address(&self, memory: &Memory) -> u64 {
        memory.0.device_ptr(&self.stream).0
    }
}

/// What a way is found for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    outputs: usize,
    inputs: usize, // tails included
    bias: bool,
}

/// How the library computes a product: its kernel, tile and order.
type Way = sys::cublasLtMatmulAlgo_t;

/// The ways of one shape.
#[derive(Clone, Copy)]
struct Ways {
    few: Way,
    many: Way,
}

impl Ways {
    fn of(&self, rows: usize) -> &Way {
        if rows <= FEW { &self.few } else { &self.many }
    }

    /// The fastest ways for few and for many rows among those that give the bits of one and the same
    /// way.
    fn find(gpu: &Gpu, shape: Shape) -> Result<Self> {
        let mut random = noise();
        let Shape { outputs, inputs, .. } = shape;
        let mut rows = |rows: usize, width: usize| gpu.upload_rows(rows, [width; 2], &mut random);
        let trial = Trial {
            gpu,
            shape,
            weights: rows(outputs, inputs)?,
            x: rows(MANY, inputs)?,
            out: rows(MANY, outputs)?,
            bias: rows(1, outputs)?,
        };
        let (layouts, product) = (trial.layouts(MANY)?, trial.product()?);
        let choices = product.choices(&gpu.blas, &layouts)?;
        let first = *choices.first().ok_or(Error::Blas { code: "no way is known".to_owned() })?;
        let want = trial.bits(&first)?;
        let few = product.choices(&gpu.blas, &trial.layouts(FEW)?)?;
        Ok(Self {
            few: trial.fastest(FEW, &few, &want)?.unwrap_or(first),
            many: trial.fastest(MANY, &choices, &want)?.unwrap_or(first),
        })
    }
}

/// Products of random numbers.
struct Trial<'a> {
    gpu: &'a Gpu,
    shape: Shape,
    weights: Memory,
    x: Memory,
    out: Memory,
    bias: Memory,
}

impl Trial<'_> {
    fn product(&self) -> Result<Product> {
        Product::new(self.shape.bias.then(|| self.gpu.address(&self.bias)))
    }

    fn layouts(&self, rows: usize) -> Result<Layouts> {
        let lds = [self.shape.inputs, self.shape.outputs];
        Layouts::new(self.gpu.number, self.shape, rows as u64, lds)
    }

    fn run(&self, rows: usize, way: &Way) -> Result<()> {
        let matrices = [&self.weights, &self.x, &self.out].map(|memory| self.gpu.address(memory));
        let (product, layouts) = (self.product()?, self.layouts(rows)?);
        self.gpu.blas.run(&self.gpu.stream, &product, &layouts, matrices, way)
    }

    /// The bits of the first `FEW` rows.
    fn bits(&self, way: &Way) -> Result<Vec<u8>> {
        self.run(FEW, way)?;
        self.gpu.download(&self.out, FEW * self.shape.outputs * self.gpu.number.len_bytes())
    }

    /// The fastest of `ways` for `rows` rows that gives the bits `want`.
    fn fastest(&self, rows: usize, ways: &[Way], want: &[u8]) -> Result<Option<Way>> {
        let mut best = None;
        for way in ways {
            // A way that the library does not take after all is none.
            let Ok(bits) = self.bits(way) else { continue };
            if bits != want {
                continue;
            }
            let ms = self.gpu.time(REPEATS, &mut || self.run(rows, way))?;
            if best.is_none_or(|(least, _)| ms < least) {
                best = Some((ms, *way));
            }
        }
        Ok(best.map(|(_, way)| way))
    }
}

/// What kind of product: Wᵀ times x as the library sees it, whose matrices lie by columns.
struct Product(sys::cublasLtMatmulDesc_t);

// SAFETY: a descriptor is plain memory of the library that nothing changes after it is made.
unsafe impl Send for Product {}
// SAFETY: as above.
unsafe impl Sync for Product {}

impl Product {
    fn new(bias: Option<u64>) -> Result<Self> {
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let product = Self(result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)?);
        let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
        product.set(attribute, &TRANSPOSED)?;
        if let Some(bias) = bias {
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE;
            product.set(attribute, &sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS)?;
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
            product.set(attribute, &bias)?;
        }
        Ok(product)
    }

    fn set<T>(&self, attribute: sys::cublasLtMatmulDescAttributes_t, value: &T) -> Result<()> {
        // SAFETY: the descriptor is alive, and the value of the size that the attribute has.
        let set = unsafe {
            let value: *const T = value;
            result::set_matmul_desc_attribute(self.0, attribute, value.cast(), size_of::<T>())
        };
        Ok(set?)
    }

    /// The library's choices for these layouts, the best first.
    fn choices(&self, blas: &Blas, layouts: &Layouts) -> Result<Vec<Way>> {
        let preference = Preference(result::create_matmul_pref()?);
        let attribute =
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let bytes = from_ref(&WORKSPACE).cast();
        // SAFETY: the preference is alive, and the attribute a size.
        unsafe {
            result::set_matmul_pref_attribute(preference.0, attribute, bytes, size_of::<usize>())
        }?;
        let Layouts { a, b, c } = layouts;
        let mut found = [MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit(); CHOICES];
        let mut count = 0;
        // SAFETY: all of them are alive, and there is room for as many results as are asked for.
        let status = unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                blas.handle,
                self.0,
                a.0,
                b.0,
                c.0,
                c.0,
                preference.0,
                CHOICES as i32,
                found.as_mut_ptr().cast(),
                &mut count,
            )
        };
        status.result()?;
        // SAFETY: the library has written so many.
        let found = found.iter().take(count as usize).map(|found| unsafe { found.assume_init() });
        Ok(found.filter(|found| found.state.result().is_ok()).map(|found| found.algo).collect())
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed here alone.
        unsafe { result::destroy_matmul_desc(self.0) }.ok();
    }
}

struct Preference(sys::cublasLtMatmulPreference_t);

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: made by `choose`, destroyed here alone.
        unsafe { result::destroy_matmul_pref(self.0) }.ok();
    }
}

struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    fn new(number: Number, rows: usize, columns: u64, ld: usize) -> Result<Self> {
        let kind = match number {
            Number::F32 => sys::cudaDataType::CUDA_R_32F,
            Number::F16 => sys::cudaDataType::CUDA_R_16F,
            Number::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        };
        Ok(Self(result::create_matrix_layout(kind, rows as u64, columns, ld as i64)?))
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed here alone.
        unsafe { result::destroy_matrix_layout(self.0) }.ok();
    }
}

/// W, x and the product, each row one of the library's columns.
struct Layouts {
    a: Layout,
    b: Layout,
    c: Layout,
}

impl Layouts {
    fn new(
        number: Number,
        Shape { outputs, inputs, .. }: Shape,
        rows: u64,
        [ld_x, ld_out]: [usize; 2],
    ) -> Result<Self> {
        Ok(Self {
            a: Layout::new(number, inputs, outputs as u64, inputs)?,
            b: Layout::new(number, inputs, rows, ld_x)?,
            c: Layout::new(number, outputs, rows, ld_out)?,
        })
    }
}
