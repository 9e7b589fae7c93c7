//! Random numbers without a state: each is a function of where it stands.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011):
//! ten rounds of multiplication turn a counter of 128 bits and a key of 64 into four words. Any element of a random
//! tensor can be computed by itself, on any device, with integer arithmetic alone.

#[cfg(feature = "data")]
use std::hash::Hasher;

/// Ten rounds of Philox4x32: four random words for a counter under a key.
#[must_use]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut a, mut b, mut c, mut d], [mut k, mut l]) = (counter, key);
    for _ in 0..10 {
        let (x, y) = (product(a, 0xd251_1f53), product(c, 0xcd9e_8d57));
        [a, b, c, d] = [y.0 ^ b ^ k, y.1, x.0 ^ d ^ l, x.1];
        k = k.wrapping_add(0x9e37_79b9);
        l = l.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

/// High and low word of a product.
fn product(a: u32, b: u32) -> (u32, u32) {
    let p = u64::from(a) * u64::from(b);
    ((p >> 32) as u32, p as u32)
}

/// Element `index` of a stream of floats of `0..1`, each a multiple of 2^-24: word `index % 4` of [`philox`] at the
/// counter `(index / 4, its high word, stream, 0)` under the key `(seed, 0)`, its upper 24 bits.
#[must_use]
pub fn uniform(seed: i32, stream: u32, index: u64) -> f32 {
    let block = index / 4;
    let words = philox(
        [block as u32, (block >> 32) as u32, stream, 0],
        [seed.cast_unsigned(), 0],
    );
    (words[(index % 4) as usize] >> 8) as f32 / (1 << 24) as f32
}

/// A hasher of one 64-bit number: the product's halves, folded. An order of magnitude cheaper than the default, which guards
/// against keys chosen to collide; the numbers given out depend on neither.
#[cfg(feature = "data")]
#[derive(Clone, Copy, Default)]
pub(crate) struct Mix(u64);

#[cfg(feature = "data")]
impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_i64(&mut self, key: i64) {
        self.write_u64(key.cast_unsigned());
    }

    fn write_u64(&mut self, key: u64) {
        let product = u128::from(self.0 ^ key ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
