//! Kernels that need no watching.

use std::collections::BTreeSet;

use super::{Variant, digest};

/// Variants that this process has generated itself, and the texts among theirs that decide all their indices themselves.
///
/// Made by [`crate::compile::vouch`] alone: what a file says of its kernels counts for nothing here.
#[derive(Clone, Debug)]
pub struct Vouched {
    variants: Vec<Variant>,
    texts: BTreeSet<String>,
}

impl Vouched {
    /// Of variants as generated, and digests of texts.
    pub(crate) fn new(variants: Vec<Variant>, texts: BTreeSet<String>) -> Self {
        Self { variants, texts }
    }

    /// Whether a variant is one that was generated, to the last number.
    #[must_use]
    pub fn generated(&self, variant: &Variant) -> bool {
        self.variants.contains(variant)
    }

    /// Kernels that need no watching, if a variant is one that was generated, to the last number; else none.
    #[must_use]
    pub fn kernels(&self, variant: &Variant) -> usize {
        let own = variant.kernels.iter().filter(|k| self.texts.contains(&k.wgsl));
        if self.variants.contains(variant) {
            own.count()
        } else {
            0
        }
    }

    /// Whether nothing was generated that a bundle has, too.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variants.is_empty()
    }

    /// Whether a text is, to the last byte, of a variant that was generated.
    #[must_use]
    pub fn made_text(&self, variant: &Variant, text: &str) -> bool {
        let digest = digest(text);
        self.variants.contains(variant) && variant.kernels.iter().any(|k| k.wgsl == digest)
    }

    /// Whether a text of a variant may run without checks of its indices and loops.
    #[must_use]
    pub fn covers_text(&self, variant: &Variant, text: &str) -> bool {
        self.variants.contains(variant) && self.texts.contains(&digest(text.as_bytes()))
    }
}
