//! Any bytes as a weight file give an encoder that runs, or an error.
#![no_main]

use kokeshi_model::{Batch, Checkpoint, Device, load};
use libfuzzer_sys::fuzz_target;

/// A network of one layer, small enough that the seed contains all of it.
const CONFIG: &[u8] = include_bytes!("one_layer.json");

fuzz_target!(|weights: &[u8]| {
    let Ok(checkpoint) = Checkpoint::from_bytes(CONFIG, None, weights.to_vec()) else { return };
    if let Ok(encoder) = load(&checkpoint, &Device::Reference) {
        let mut batch = Batch::new();
        batch.push(&[0, 2, 1], Some(1));
        assert_eq!(encoder.hidden_states(&batch).expect("states").len(), 3 * encoder.config().hidden);
    }
});
