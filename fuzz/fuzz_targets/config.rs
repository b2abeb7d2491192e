//! Any bytes as `config.json` give a configuration or an error.
#![no_main]

use kokeshi_model::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|config: &[u8]| {
    // A weight file without tensors, so that the parsed configuration is also used.
    const EMPTY: &[u8] = b"\x08\0\0\0\0\0\0\0{}      ";
    if let Ok(checkpoint) = Checkpoint::from_bytes(config, Some(config), EMPTY) {
        let config = checkpoint.config();
        assert!(config.heads * config.head_dim() == config.hidden && config.max_tokens > 0);
        assert!(kokeshi_model::load(&checkpoint, &kokeshi_model::Device::Reference).is_err());
    }
});
