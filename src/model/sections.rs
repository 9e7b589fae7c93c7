//! The sections of a [`Spec`](super::Spec), their bounds and their defaults.

use serde::{Deserialize, Serialize};

pub(super) use super::sizes::{Heads, List, Position, Rate, Size, Vocabulary, Width};

/// A categorical feature: input `name`, i32, table `embedding.<name>.weight [vocabulary, width]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) vocabulary: Vocabulary,
    pub(super) width: Width,
    /// The feature belongs to the request, not to each candidate.
    #[serde(default)]
    pub(super) per_request: bool,
}

/// A numeric feature: input `name`, f32.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dense {
    pub(super) name: String,
    pub(super) width: Width,
    /// Width of a linear map, `embedding.<name>.weight [embedding, width]`; without it numbers are used as they are.
    pub(super) embedding: Option<Width>,
    #[serde(default)]
    pub(super) per_request: bool,
}

/// A raw behaviour sequence: inputs `<name>_<item>`, one for each item, and `<name>_mask`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    /// `hist` where it is left out.
    pub(super) name: Option<String>,
    pub(super) length: Width,
    /// Fields and dense inputs that its events are made of; tables are shared.
    pub(super) of: List<String>,
    /// What is known of its events and not of the row.
    #[serde(default)]
    pub(super) side: List<Side>,
    /// How models without attention see it.
    #[serde(default)]
    pub(super) pooling: Pooling,
    #[serde(default)]
    pub(super) per_request: bool,
}

/// A feature of past events alone: input `<history>_<name>`, i32, table `embedding.<history>_<name>.weight`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Side {
    pub(super) name: String,
    pub(super) vocabulary: Vocabulary,
    pub(super) width: Width,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pooling {
    #[default]
    Mean,
    Sum,
}

/// Embeddings of past events: inputs `loopfm f32[rows, T, width]` and `loopfm_mask bool[rows, T]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoopFm {
    pub(super) length: Width,
    pub(super) width: Width,
    #[serde(default)]
    pub(super) encoder: Encoder,
    /// What is known of the events beside their embeddings.
    #[serde(default)]
    pub(super) side: List<Side>,
    /// Fields and dense inputs of the query; without it those of the first history.
    #[serde(default)]
    pub(super) target: List<String>,
    /// Of `dmin`: 4.
    pub(super) heads: Option<Heads>,
    /// Of `dmin`: 8.
    pub(super) position: Option<Position>,
    /// The scoring tower of `din` and `dmin`: 80, 40.
    pub(super) layers: Option<List<Width>>,
    /// Of `din`: scores become shares, which hide how many events there are. Off.
    pub(super) softmax: Option<bool>,
    #[serde(default)]
    pub(super) per_request: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoder {
    Mean,
    Sum,
    Din,
    #[default]
    Dmin,
}

/// The code of hidden layers that a foundation model leaves for others.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Autoencoder {
    /// Hidden layers, side by side: `mlp.0`.
    pub(super) of: Option<List<String>>,
    /// Layers between these and the code, mirrored in the decoder: 128.
    pub(super) layers: Option<List<Width>>,
    /// Of the code.
    pub(super) width: Width,
    /// Widths below it that shall be codes too, each with a decoder of its own.
    #[serde(default)]
    pub(super) prefixes: List<Width>,
}

/// A second head on the same backbone, trained by a teacher alone.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Distillation {
    /// What the head's gradient is multiplied by where it enters the backbone.
    #[serde(default = "one")]
    pub(super) gradient_scale: f32,
}

fn one() -> f32 {
    1.0
}

/// What follows a hidden layer; `p` is the layer's prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Activation {
    /// No parameters.
    #[default]
    Relu,
    /// `<p>.prelu.weight [1]`.
    Prelu,
    /// `<p>.dice.alpha`, `<p>.dice.running_mean`, `<p>.dice.running_var`, each as wide as the layer; eps 1e-9.
    Dice,
    /// No parameters.
    Silu,
    /// No parameters.
    Gelu,
    /// No parameters.
    Sigmoid,
    /// No parameters.
    Tanh,
}

/// Where a tower normalises by statistics of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Norm {
    #[default]
    None,
    /// Before each activation: `<p>.norm`.
    Each,
    /// What the tower reads: `mlp.norm`.
    Once,
}

/// How a history's events are scored against the target.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attention {
    /// Of the scoring tower: 512, 256.
    pub(super) layers: Option<List<Width>>,
    pub(super) activation: Option<Activation>,
    #[serde(default)]
    pub(super) dropout: Rate,
    pub(super) softmax: Option<bool>,
    pub(super) score: Option<Score>,
    pub(super) position: Option<Position>,
}

/// What DIEN compares interests and target by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Score {
    #[default]
    Mlp,
    Bilinear,
    Dot,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cross {
    pub(super) layers: Size<1024>,
    pub(super) rank: Option<Width>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Structure {
    #[default]
    Parallel,
    Stacked,
}

/// What FmFM weighs the product of two fields by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Interaction {
    #[default]
    Vectorized,
    Matrixed,
}

/// DMIN's heads.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Interests {
    pub(super) heads: Heads,
    /// A layer of self-attention before them.
    pub(super) refiner: bool,
    pub(super) layer_norm: bool,
}

impl Default for Interests {
    fn default() -> Self {
        Self {
            heads: Size(1),
            refiner: false,
            layer_norm: true,
        }
    }
}

/// Which of DMR's two numbers the tower reads.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Relevance {
    pub(super) user_to_item: bool,
    pub(super) item_to_item: bool,
}

impl Default for Relevance {
    fn default() -> Self {
        Self {
            user_to_item: true,
            item_to_item: false,
        }
    }
}
