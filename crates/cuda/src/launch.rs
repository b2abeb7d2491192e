//! The kernels, each behind a method that checks what it is given.

use crate::Number;
use crate::blas::{Linear, Lora};
use crate::error::{Error, Result};
use crate::gpu::{Code, Gpu};
use crate::memory::{Memory, widen};
use crate::states::States;
use cudarc::driver::{CudaView, DeviceRepr, LaunchArgs, LaunchConfig, PushKernelArg, sys};
use std::ops::Range;

/// Numbers that a thread reads and writes at once (`OCTET` in `number.cuh`).
const OCTET: usize = 8;
/// Threads of a block that works row by row, a warp each, or octet by octet.
const THREADS: u32 = 128;
const ROWS_PER_BLOCK: usize = THREADS as usize / 32;
/// The widest row that a warp keeps in its registers.
const WIDEST: usize = 2048;

/// An embedding table with the low-rank update of each task.
#[derive(Debug)]
pub struct Embedding {
    /// `[vocab, hidden]`, in the card's numbers.
    pub word: Memory,
    /// `[tasks, vocab, rank]` in f32; empty if no task has an update.
    pub a: Memory,
    /// `[tasks, rank, hidden]` in f32, scaled.
    pub b: Memory,
    /// The summand of every token in f32, `[shifts, hidden]`: without a task first, then with each.
    pub shift: Memory,
    /// Rows.
    pub vocab: usize,
    /// Of the updates; 0 if there are none.
    pub rank: usize,
    /// 0, 1, or one more than there are tasks.
    pub shifts: usize,
    /// Width of a row.
    pub hidden: usize,
}

/// A layer normalisation: gain and bias in f32.
#[derive(Debug)]
pub struct Norm {
    /// `[width]`
    pub gain: Memory,
    /// `[width]`
    pub bias: Memory,
    /// Added to the variance.
    pub eps: f32,
    /// Numbers of a row.
    pub width: usize,
}

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Exact GELU.
    Gelu,
    /// `gelu(gate) · value`, gates first.
    GeGlu,
    /// `max(gate, 0) · value`
    ReGlu,
}

/// How positions enter attention.
#[derive(Debug)]
pub enum Position {
    /// cos and sin of each position, `[positions, head_dim / 2]` each, in f32.
    Rope {
        /// cosines
        cos: Memory,
        /// sines
        sin: Memory,
        /// Rows of the tables.
        positions: usize,
    },
    /// A slope a head, in f32, multiplied with log2(e).
    Alibi {
        /// `[heads]`
        slopes: Memory,
    },
}

/// Attention of a model.
#[derive(Debug)]
pub struct Attention {
    /// Heads.
    pub heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// How positions enter.
    pub position: Position,
}

impl Attention {
    fn hidden(&self) -> usize {
        self.heads * self.head_dim
    }
}

/// The kernels of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Mma,
    Hopper,
}

impl Way {
    /// Queries of a block.
    fn queries(self) -> usize {
        match self {
            Self::Plain => 32,
            Self::Mma => 128,
            Self::Hopper => 192,
        }
    }

    /// The way of a sequence follows from its own length alone, so that its bits do.
    fn of(code: Code, number: Number, head_dim: usize, len: usize) -> Self {
        /// From this length on Hopper's kernel is the faster one.
        const LONG: usize = 512;
        let halves = number != Number::F32;
        if code.has_hopper() && halves && head_dim == 64 && len >= LONG {
            Self::Hopper
        } else if code.has_mma() && halves && matches!(head_dim, 32 | 64) {
            Self::Mma
        } else {
            Self::Plain
        }
    }
}

/// How a batch lies on the card: ids, tasks and places of its tokens, and blocks of queries.
#[derive(Debug)]
pub struct Tiles {
    memory: Memory, // i32
    rows: usize,
    longest: usize,
    /// Where the blocks of each way lie, in numbers, and how many there are.
    blocks: Vec<(Way, Range<usize>)>,
}

impl Tiles {
    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn part(&self, numbers: Range<usize>) -> CudaView<'_, u8> {
        self.memory.0.slice(numbers.start * 4..numbers.end * 4)
    }

    fn ids(&self) -> CudaView<'_, u8> {
        self.part(0..self.rows)
    }

    fn adapters(&self) -> CudaView<'_, u8> {
        self.part(self.rows..2 * self.rows)
    }

    fn positions(&self) -> CudaView<'_, u8> {
        self.part(2 * self.rows..3 * self.rows)
    }
}

impl Gpu {
    /// Whether this card's kernels run a model of these sizes.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if not.
    pub fn check_shape(
        &self,
        [hidden, ffn_hidden, head_dim]: [usize; 3],
        rotary: bool,
    ) -> Result<()> {
        let fits = |what, found, fits: bool, needed| {
            if fits { Ok(()) } else { Err(Error::Shape { what, found, needed }) }
        };
        let octets = |x: usize| x.is_multiple_of(OCTET);
        fits(
            "hidden size",
            hidden,
            octets(hidden) && hidden <= WIDEST,
            "a multiple of 8, to 2048",
        )?;
        fits("feed-forward size", ffn_hidden, octets(ffn_hidden), "a multiple of 8")?;
        let whole = !rotary || head_dim.is_multiple_of(2 * OCTET);
        fits("head size", head_dim, whole && head_dim <= 256, "a multiple of 16, to 256")
    }

    /// Takes a batch to the card: `ids` and `adapters` of all tokens, token ranges of the sequences.
    ///
    /// # Errors
    ///
    /// If the card has no memory left, or fails.
    ///
    /// # Panics
    ///
    /// If there is not one id and one adapter a token.
    pub fn tiles(
        &self,
        ids: &[u32],
        adapters: &[Option<usize>],
        sequences: &[Range<usize>],
        head_dim: usize,
    ) -> Result<Tiles> {
        let rows = ids.len();
        assert_eq!(adapters.len(), rows, "an adapter for each token");
        assert_eq!(sequences.last().map_or(0, |last| last.end), rows, "sequences of all tokens");
        let mut numbers: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        numbers.extend(adapters.iter().map(|adapter| adapter.map_or(-1, |task| task as i32)));
        let of = |len: usize| Way::of(self.code, self.number, head_dim, len);
        for sequence in sequences {
            // The kernel of short sequences rotates q and k itself.
            let turns = of(sequence.len()) != Way::Mma;
            numbers.extend((0..sequence.len() as i32).map(|place| if turns { place } else { -1 }));
        }
        let mut blocks = Vec::new();
        for way in [Way::Hopper, Way::Mma, Way::Plain] {
            let start = numbers.len();
            let mut mine: Vec<&Range<usize>> =
                sequences.iter().filter(|sequence| of(sequence.len()) == way).collect();
            // The longest first, so that the card is not left with one of them alone.
            mine.sort_by_key(|sequence| std::cmp::Reverse(sequence.len()));
            for sequence in mine {
                for query in (0..sequence.len()).step_by(way.queries()) {
                    numbers.extend([sequence.start, sequence.len(), query].map(|x| x as i32));
                }
            }
            blocks.push((way, start..numbers.len()));
        }
        let longest = sequences.iter().map(Range::len).max().unwrap_or(0);
        Ok(Tiles { memory: self.upload(&numbers)?, rows, longest, blocks })
    }

    /// The embeddings of a batch.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree. Ids and tasks are not looked at: who made the batch has.
    pub fn embed(&self, tiles: &Tiles, table: &Embedding, out: &mut States) -> Result<()> {
        assert_eq!((out.rows, out.width), (tiles.rows, table.hidden), "the embeddings' shape");
        let sizes = [table.vocab, table.rank, table.shifts, table.hidden, out.ld].map(|x| x as i32);
        let (ids, adapters) = (tiles.ids(), tiles.adapters());
        let kernel = self.kernel("embed", 0)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(&ids).arg(&adapters).arg(&table.word.0).arg(&table.a.0).arg(&table.b.0);
        launch.arg(&table.shift.0);
        add_sizes(&mut launch, &sizes);
        launch.arg(&out.memory().0);
        self.launch(launch, (out.rows, 1), THREADS, 0)
    }

    /// `x = LayerNorm(x + residual)` over part `part` of each row, where parts are as wide as the norm;
    /// and the tail of `next`, the layer that reads the result.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn add_norm(
        &self,
        x: &mut States,
        part: usize,
        residual: Option<&States>,
        norm: &Norm,
        next: Option<(&Linear, &Tiles)>,
    ) -> Result<()> {
        assert!((part + 1) * norm.width <= x.width && norm.width <= WIDEST, "a part of the row");
        if let Some(residual) = residual {
            let shape = |states: &States| (states.rows, states.width, states.ld);
            assert_eq!(shape(residual), shape(x), "the residual's shape");
        }
        let start = part * norm.width * self.number.len_bytes();
        let rows = x.memory().0.slice(start..);
        let null = 0_u64;
        let sizes = [x.rows, norm.width, x.ld].map(|x| x as i32);
        let kernel =
            self.kernel(if norm.width <= 1024 { "add_norm_4" } else { "add_norm_8" }, 0)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(&rows);
        match residual {
            Some(residual) => launch.arg(&residual.memory().0),
            None => launch.arg(&null),
        };
        launch.arg(&norm.gain.0).arg(&norm.bias.0).arg(&norm.eps);
        add_sizes(&mut launch, &sizes);
        let reader = Reader::new(x, next);
        reader.add_to(&mut launch);
        self.launch(launch, (x.rows.div_ceil(ROWS_PER_BLOCK), 1), THREADS, 0)?;
        x.has_tail.set(reader.is_some());
        Ok(())
    }

    /// Fills the tail behind each row with x · A of the row's task in the task's own slots.
    pub(crate) fn lora_down(&self, x: &States, tiles: &Tiles, linear: &Linear) -> Result<()> {
        let Some(Lora { a, rank, tail }) = &linear.lora else { return Ok(()) };
        assert!(x.width + tail <= x.ld && x.rows == tiles.rows, "room for the tail");
        let sizes = [x.rows, *rank, x.width, *tail, x.ld].map(|x| x as i32);
        let adapters = tiles.adapters();
        let kernel = self.kernel("lora_down", 0)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(&x.memory().0).arg(&adapters).arg(&a.0);
        add_sizes(&mut launch, &sizes);
        self.launch(launch, (x.rows.div_ceil(ROWS_PER_BLOCK), 1), THREADS, 0)
    }

    /// GELU in place, and the tail of `next`, the layer that reads the result.
    ///
    /// # Errors
    ///
    /// If the card fails.
    pub fn gelu(&self, x: &mut States, next: Option<(&Linear, &Tiles)>) -> Result<()> {
        let reader = Reader::new(x, next);
        if !reader.is_some() {
            x.has_tail.set(false);
            return self.activate("gelu", x, x.width, x);
        }
        const ROWS: usize = 4;
        let sizes = [x.rows, x.width, x.ld].map(|x| x as i32);
        let kernel = self.kernel("gelu_rows", 0)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(&x.memory().0);
        add_sizes(&mut launch, &sizes);
        reader.add_to(&mut launch);
        self.launch(launch, (x.rows.div_ceil(ROWS), 1), 256, 0)?;
        x.has_tail.set(true);
        Ok(())
    }

    /// The gated activations: `x` has twice the numbers of `out`, gates first.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or the activation has no gates.
    pub fn gate(&self, activation: Activation, x: &States, out: &mut States) -> Result<()> {
        assert_eq!((x.rows, x.width), (out.rows, 2 * out.width), "gates and values");
        assert_ne!(activation, Activation::Gelu, "an activation with gates");
        let name = if activation == Activation::GeGlu { "geglu" } else { "reglu" };
        self.activate(name, x, out.width, out)
    }

    fn activate(&self, kernel: &str, x: &States, width: usize, out: &States) -> Result<()> {
        let sizes = [x.rows, width, x.ld, out.ld].map(|x| x as i32);
        let kernel = self.kernel(kernel, 0)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(&x.memory().0).arg(&out.memory().0);
        add_sizes(&mut launch, &sizes);
        let blocks = (x.rows * width / OCTET).div_ceil(THREADS as usize);
        self.launch(launch, (blocks, 1), THREADS, 0)
    }

    /// Attention inside each sequence: `[tokens, 3 · hidden]` → `[tokens, hidden]`. q and k of a rotary
    /// model are rotated in place.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or a sequence is longer than the table of positions.
    pub fn attend(
        &self,
        qkv: &States,
        tiles: &Tiles,
        attention: &Attention,
        out: &mut States,
    ) -> Result<()> {
        let hidden = attention.hidden();
        assert_eq!((qkv.rows, qkv.width), (tiles.rows, 3 * hidden), "the projections' shape");
        assert_eq!((out.rows, out.width), (tiles.rows, hidden), "the contexts' shape");
        self.rotate(qkv, tiles, attention)?;
        for (way, numbers) in &tiles.blocks {
            if !numbers.is_empty() {
                self.attend_by(*way, qkv, &tiles.part(numbers.clone()), attention, out)?;
            }
        }
        Ok(())
    }

    fn rotate(&self, qkv: &States, tiles: &Tiles, attention: &Attention) -> Result<()> {
        let Position::Rope { cos, sin, positions: most } = &attention.position else {
            return Ok(());
        };
        assert!(tiles.longest <= *most, "a sequence of {} tokens is too long", tiles.longest);
        if tiles.blocks.iter().all(|(way, blocks)| *way == Way::Mma || blocks.is_empty()) {
            return Ok(());
        }
        let half = attention.head_dim / 2;
        let sizes = [qkv.rows, attention.heads, half, qkv.ld].map(|x| x as i32);
        let positions = tiles.positions();
        let kernel = self.kernel("rotate", 0)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(&qkv.memory().0).arg(&positions).arg(&cos.0).arg(&sin.0);
        add_sizes(&mut launch, &sizes);
        let octets = qkv.rows * 2 * attention.heads * half / OCTET;
        self.launch(launch, (octets.div_ceil(THREADS as usize), 1), THREADS, 0)
    }

    fn attend_by(
        &self,
        way: Way,
        qkv: &States,
        blocks: &CudaView<'_, u8>,
        attention: &Attention,
        out: &States,
    ) -> Result<()> {
        let (dim, null) = (attention.head_dim, 0_u64);
        let scale = std::f32::consts::LOG2_E / (dim as f32).sqrt();
        let (name, slopes) = match &attention.position {
            Position::Rope { .. } => ("rope", None),
            Position::Alibi { slopes } => ("alibi", Some(&slopes.0)),
        };
        let (name, shared, threads) = match way {
            Way::Plain => ("attend_plain".to_owned(), 3 * 32 * (dim + 1) * 4, 256),
            Way::Mma => (format!("attend_mma_{name}_{dim}"), (128 + 4 * 64) * (dim + 8) * 2, 128),
            Way::Hopper => {
                let bytes = 192 * 64 * 2 + 4 * 128 * 64 * 2;
                (format!("attend_hopper_{name}"), 1024 + bytes + 128, 512)
            }
        };
        let kernel = self.kernel(&name, shared)?;
        let map = (way == Way::Hopper).then(|| self.tensor_map(qkv)).transpose()?;
        let [hidden, dim, ld_in, ld_out] =
            [attention.hidden(), dim, qkv.ld, out.ld].map(|x| x as i32);
        let mut launch = self.stream.launch_builder(&kernel);
        match &map {
            Some(map) => launch.arg(map),
            None => launch.arg(&qkv.memory().0),
        };
        launch.arg(blocks);
        match slopes {
            Some(slopes) => launch.arg(slopes),
            None => launch.arg(&null),
        };
        if way == Way::Mma {
            match &attention.position {
                Position::Rope { cos, sin, .. } => launch.arg(&cos.0).arg(&sin.0),
                Position::Alibi { .. } => launch.arg(&null).arg(&null),
            };
        }
        launch.arg(&scale).arg(&hidden);
        if way == Way::Plain {
            launch.arg(&dim);
        }
        if way != Way::Hopper {
            launch.arg(&ld_in);
        }
        launch.arg(&ld_out).arg(&out.memory().0);
        self.launch(launch, (blocks.len() / 12, attention.heads), threads, shared)
    }

    /// `x` as the bulk copy engine sees it: boxes of 64 rows and 64 columns, swizzled.
    fn tensor_map(&self, x: &States) -> Result<TensorMap> {
        let kind = match self.number {
            Number::F16 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            _ => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        };
        let dims = [x.width as u64, x.rows as u64];
        let strides = [(x.ld * self.number.len_bytes()) as u64];
        let (boxes, steps) = ([64_u32; 2], [1_u32; 2]);
        let mut map = TensorMap(sys::CUtensorMap { opaque: [0; 16] });
        let address = self.address(x.memory()) as *mut std::ffi::c_void;
        // SAFETY: the arrays have an entry for each of the two dimensions, the map is alive, and the
        // tensor lies in the states' memory.
        let made = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut map.0,
                kind,
                2,
                address,
                dims.as_ptr(),
                strides.as_ptr(),
                boxes.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        made.result().map_err(Error::driver("describing states"))?;
        Ok(map)
    }

    /// Sums of the first `width` numbers of states over token ranges, `[spans, width]`, when the
    /// operations before are done.
    ///
    /// # Errors
    ///
    /// If the card failed, in this or in an operation before.
    ///
    /// # Panics
    ///
    /// If a span lies outside the states.
    pub fn pool(&self, x: &States, width: usize, spans: &[Range<usize>]) -> Result<Vec<f32>> {
        assert!(
            spans.iter().all(|span| span.end <= x.rows) && width <= x.width,
            "inside the states"
        );
        if spans.is_empty() {
            return Ok(Vec::new());
        }
        let ends: Vec<i32> =
            spans.iter().flat_map(|span| [span.start as i32, span.end as i32]).collect();
        let bytes = spans.len() * width * 4;
        let (spans_memory, sums) = (self.upload(&ends)?, self.zeros(bytes)?);
        let sizes = [width, x.ld].map(|x| x as i32);
        let kernel = self.kernel("pool", 0)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(&x.memory().0).arg(&spans_memory.0).arg(&sizes[0]).arg(&sizes[1]).arg(&sums.0);
        self.launch(launch, (spans.len(), width.div_ceil(THREADS as usize)), THREADS, 0)?;
        Ok(widen(Number::F32, &self.download(&sums, bytes)?))
    }

    fn launch(
        &self,
        mut launch: LaunchArgs<'_>,
        (x, y): (usize, usize),
        threads: u32,
        shared: usize,
    ) -> Result<()> {
        if x == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (x as u32, y as u32, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: shared as u32,
        };
        // SAFETY: each caller above gives the kernel's own parameters in their order, and has checked
        // that what they point to is as large as the sizes say.
        let launched = unsafe { launch.launch(config) };
        launched.map(|_| ()).map_err(Error::driver("starting a kernel"))
    }
}

/// The low-rank layer that reads an operation's result, as kernels take it.
struct Reader<'a> {
    lora: Option<(&'a Memory, CudaView<'a, u8>)>,
    null: u64,
    sizes: [i32; 2],
}

impl<'a> Reader<'a> {
    /// The largest rank that kernels make a tail of on the way (`GROUP` in `rows.cuh`).
    const RANK: usize = 4;

    fn new(x: &States, next: Option<(&'a Linear, &'a Tiles)>) -> Self {
        let made = next.and_then(|(linear, tiles)| Some((linear.lora.as_ref()?, linear, tiles)));
        let made = made.filter(|(lora, ..)| lora.rank <= Self::RANK);
        let Some((lora, linear, tiles)) = made else {
            return Self { lora: None, null: 0, sizes: [0; 2] };
        };
        let fits = x.width == linear.inputs && x.width + lora.tail <= x.ld;
        assert!(fits && x.rows == tiles.rows, "room for the tail");
        let sizes = [lora.rank, lora.tail].map(|x| x as i32);
        Self { lora: Some((&lora.a, tiles.adapters())), null: 0, sizes }
    }

    fn is_some(&self) -> bool {
        self.lora.is_some()
    }

    fn add_to<'b>(&'b self, launch: &mut LaunchArgs<'b>) {
        match &self.lora {
            Some((a, adapters)) => launch.arg(&a.0).arg(adapters),
            None => launch.arg(&self.null).arg(&self.null),
        };
        add_sizes(launch, &self.sizes);
    }
}

fn add_sizes<'a>(launch: &mut LaunchArgs<'a>, sizes: &'a [i32]) {
    for size in sizes {
        launch.arg(size);
    }
}

/// A description of a tensor, passed by value.
struct TensorMap(sys::CUtensorMap);

// SAFETY: it is plain bytes, made by the driver for kernels.
unsafe impl DeviceRepr for TensorMap {}
