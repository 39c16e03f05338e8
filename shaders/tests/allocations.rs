//! After its first run, a network allocates no memory for tensors.

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{DType, Device, Tensor};
use kiln_kernels::cpu::{Context, Isa};
use kiln_kernels::layers::{self, Activation, Conv, ConvSpec, Geometry, InvertedBottleneck, Pooling};
use kiln_kernels::{Layout, Normalizer};

/// Bytes of a large allocation. The tensors of the network below are larger, except for the globally pooled ones of a few
/// bytes for each channel. Burn's metadata of a tensor is far smaller.
const LARGE: usize = 8 << 10;
static LARGE_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system allocator, with a count of the large allocations of all threads.
struct Counting;

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        if layout.size() >= LARGE {
            LARGE_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: MemoryLayout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZE: usize = 48;
const WINDOW: Geometry = Geometry { kernel: [3, 3], stride: [1, 1], before: [1, 1], after: [1, 1] };

fn spec(inputs: usize, outputs: usize, geometry: Geometry, depthwise: bool) -> ConvSpec {
    ConvSpec { inputs, outputs, geometry, depthwise, activation: Activation::HardSwish }
}

/// One layer of each kind.
struct Network {
    normalizer: Normalizer,
    stem: Conv,
    bottleneck: InvertedBottleneck,
    depthwise: Conv,
    gate: Conv,
}

impl Network {
    fn new(device: &Device) -> Self {
        let [wide, narrow] = [64, 16];
        let (first, last) =
            (spec(narrow, wide, Geometry::POINTWISE, false), spec(wide, narrow, Geometry::POINTWISE, false));
        Self {
            normalizer: Normalizer::new(device, DType::F32, [127.0; 3], [128.0; 3]),
            stem: Conv::new(spec(3, narrow, WINDOW, false), device),
            bottleneck: InvertedBottleneck::new(first, spec(wide, wide, WINDOW, true), last, device),
            depthwise: Conv::new(spec(narrow, narrow, WINDOW, true), device),
            gate: Conv::new(spec(narrow, narrow, Geometry::POINTWISE, false), device),
        }
    }

    fn run(&self, pixels: &[u8], batch: usize) -> Tensor<4> {
        let input = self.normalizer.run(pixels, batch, SIZE, SIZE, Layout::ChannelsLast);
        let x = self.stem.forward(input, None);
        let x = self.bottleneck.forward(x.clone(), Some(x));
        let x = self.depthwise.forward(x, None);
        let gate = self.gate.forward(layers::global_average_pool(x.clone()), None);
        layers::pool(layers::scale(x, gate), Pooling::Max, WINDOW)
    }
}

#[test]
fn second_run_allocates_no_tensor() {
    // The same number of threads on every machine.
    let context = Context::new(Isa::best(), 4);
    let network = Network::new(&Device::flex());
    for batch in [1, 3] {
        let pixels = vec![200; batch * SIZE * SIZE * 3];
        let count = || {
            let before = LARGE_ALLOCATIONS.load(Ordering::Relaxed);
            context.enter(|| drop(network.run(&pixels, batch)));
            LARGE_ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        let counts: Vec<usize> = std::iter::repeat_with(count).take(101).collect();
        assert!(counts[0] > 0, "the counter does not count");
        // The scratch memory of a thread grows when the thread first gets an item of that kind, in a few of the runs.
        let grown = counts[1..].iter().filter(|count| **count > 0).count();
        assert!(grown < 10, "{grown} of 100 runs allocated {LARGE} bytes or more at once");
    }
}
