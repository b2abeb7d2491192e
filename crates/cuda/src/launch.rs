//! Starting kernels: typed arguments, and the one call to the driver.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::memory::Memory;
use cudarc::driver::{DevicePtr, DeviceRepr, LaunchArgs, LaunchConfig};

/// An address in the card's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) u64);

impl Address {
    pub(crate) const NULL: Self = Self(0);

    pub(crate) fn offset(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

// SAFETY: it is the 64-bit pointer that a kernel expects.
unsafe impl DeviceRepr for Address {}

/// All arguments of a kernel, in the order of its parameters.
pub(crate) trait Arguments {
    /// Name and type of each, for the test that compares them with the kernel's source.
    #[cfg(test)]
    const PARAMETERS: &'static [(&'static str, &'static str)];

    /// Adds them to a launch.
    fn push<'a>(&'a self, launch: &mut LaunchArgs<'a>);
}

/// Declares a struct whose fields are the parameters of a kernel, in their order.
macro_rules! arguments {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ident,)* }) => {
        $(#[$meta])*
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        impl $crate::launch::Arguments for $name {
            #[cfg(test)]
            const PARAMETERS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), stringify!($type))),*];

            fn push<'a>(&'a self, launch: &mut cudarc::driver::LaunchArgs<'a>) {
                $(cudarc::driver::PushKernelArg::arg(launch, &self.$field);)*
            }
        }
    };
}
pub(crate) use arguments;

/// Which kernel to start, with how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    /// Its name without the dtype.
    pub(crate) kernel: &'a str,
    /// Blocks in x and y. Without any in x, nothing is started.
    pub(crate) blocks: [usize; 2],
    /// Threads of a block.
    pub(crate) threads: usize,
    /// Dynamic shared memory of a block.
    pub(crate) shared_bytes: usize,
}

impl<'a> Launch<'a> {
    /// A row of blocks without dynamic shared memory.
    pub(crate) fn new(kernel: &'a str, blocks: usize, threads: usize) -> Self {
        Self { kernel, blocks: [blocks, 1], threads, shared_bytes: 0 }
    }
}

impl Gpu {
    /// Starts a kernel; it runs after all earlier operations.
    ///
    /// # Safety
    ///
    /// `arguments` must be those of the kernel. Its addresses must belong to this card, must stay
    /// allocated until the stream has passed the kernel, and must have room for all that the kernel
    /// reads and writes for the sizes in the arguments and the grid.
    pub(crate) unsafe fn launch(
        &self,
        launch: Launch<'_>,
        arguments: &impl Arguments,
    ) -> Result<()> {
        let Launch { kernel, blocks: [x, y], threads, shared_bytes } = launch;
        if x == 0 {
            return Ok(());
        }
        let function = self.kernel(kernel, shared_bytes)?;
        let mut builder = self.stream.launch_builder(&function);
        arguments.push(&mut builder);
        let config = LaunchConfig {
            grid_dim: (x as u32, y as u32, 1),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: shared_bytes as u32,
        };
        // SAFETY: the caller's promise.
        let launched = unsafe { builder.launch(config) };
        launched.map(|_| ()).map_err(Error::driver("starting a kernel"))
    }

    /// The address at which `memory` starts.
    pub(crate) fn address(&self, memory: &Memory) -> Address {
        Address(memory.0.device_ptr(&self.stream).0)
    }
}
