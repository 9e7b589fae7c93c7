//! What a model is made of, as `config.json` or TOML spells it: one struct for all architectures.
//!
//! ```toml
//! architecture = "dmin"
//! mlp = [512, 256, 128]
//! dropout = 0.1
//! extract = ["mlp.0"]                 # hidden layers that become outputs
//! kd = {gradient_scale = 5.0}         # a second head, trained by a teacher
//! fields = [{name = "user", vocabulary = 1000, width = 32}, {name = "cate", vocabulary = 500, width = 32}]
//! dense = [{name = "price", width = 1, embedding = 32}]
//! history = {length = 50, of = ["cate"]}
//! loopfm = {length = 50, width = 32}  # embeddings that a foundation model left
//! ```
//!
//! Every size is bounded while it is read. A section that an architecture does not read is refused by name.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::Fault;
use super::sections::{
    Activation, Attention, Autoencoder, Cross, Dense, Distillation, Field, History, Interaction, Interests, List,
    LoopFm, Norm, Rate, Relevance, Structure, Width,
};

/// A model by its architecture and sizes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub(super) architecture: String,
    pub(super) fields: List<Field>,
    #[serde(default)]
    pub(super) dense: List<Dense>,
    #[serde(default)]
    pub(super) history: Histories,
    pub(super) loopfm: Option<LoopFm>,
    pub(super) autoencoder: Option<Autoencoder>,
    pub(super) kd: Option<Distillation>,
    #[serde(default)]
    pub(super) extract: List<String>,
    pub(super) mlp: Option<List<Width>>,
    pub(super) activation: Option<Activation>,
    pub(super) dropout: Option<Rate>,
    pub(super) batch_norm: Option<Norm>,
    pub(super) attention: Option<Attention>,
    pub(super) cross: Option<Cross>,
    pub(super) structure: Option<Structure>,
    pub(super) projection: Option<Width>,
    pub(super) interaction: Option<Interaction>,
    pub(super) interests: Option<Interests>,
    pub(super) relevance: Option<Relevance>,
}

/// The architecture alone: one that is not known is said first.
#[derive(Deserialize)]
struct Named {
    architecture: String,
}

/// One history or a list of them.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Histories(pub(super) Vec<History>);

impl<'de> Deserialize<'de> for Histories {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> de::Visitor<'de> for OneOrMore {
            type Value = Histories;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a history or a list of histories")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Histories, A::Error> {
                History::deserialize(de::value::MapAccessDeserializer::new(map)).map(|h| Histories(vec![h]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Histories, A::Error> {
                List::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(|list| Histories(list.0))
            }
        }
        d.deserialize_any(OneOrMore)
    }
}

impl Spec {
    /// Reads JSON.
    ///
    /// # Errors
    /// [`Fault`] saying what the text should have held.
    pub fn from_json(text: &str) -> Result<Self, Fault> {
        let fault = |e: serde_json::Error| Fault::Config(e.to_string());
        let named: Named = serde_json::from_str(text).map_err(fault)?;
        super::known(&named.architecture)?;
        serde_json::from_str(text).map_err(fault)
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// [`Fault`] saying what the text should have held.
    #[cfg(feature = "train")]
    pub fn from_toml(text: &str) -> Result<Self, Fault> {
        let fault = |e: toml::de::Error| Fault::Config(e.to_string());
        let named: Named = toml::from_str(text).map_err(fault)?;
        super::known(&named.architecture)?;
        toml::from_str(text).map_err(fault)
    }

    /// The JSON that [`Spec::from_json`] reads as this.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names are JSON")
    }

    /// Name of the architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Refuses sections that the architecture does not read.
    pub(super) fn reads(&self, sections: &[&str]) -> Result<(), Fault> {
        let given = [
            ("mlp", self.mlp.is_some()),
            ("activation", self.activation.is_some()),
            ("dropout", self.dropout.is_some()),
            ("batch_norm", self.batch_norm.is_some()),
            ("attention", self.attention.is_some()),
            ("cross", self.cross.is_some()),
            ("structure", self.structure.is_some()),
            ("projection", self.projection.is_some()),
            ("interaction", self.interaction.is_some()),
            ("interests", self.interests.is_some()),
            ("relevance", self.relevance.is_some()),
        ];
        match given.iter().find(|(name, given)| *given && !sections.contains(name)) {
            Some((name, _)) => Err(self.unread(name)),
            None => Ok(()),
        }
    }

    /// The section on attention; of its options `softmax`, `score` and `position` those that are read.
    pub(super) fn attention(&self, options: &[&str]) -> Result<Attention, Fault> {
        let a = self.attention.clone().unwrap_or_default();
        let given = [
            ("softmax", a.softmax.is_some()),
            ("score", a.score.is_some()),
            ("position", a.position.is_some()),
        ];
        match given.iter().find(|(name, given)| *given && !options.contains(name)) {
            Some((name, _)) => Err(self.unread(&format!("attention.{name}"))),
            None => Ok(a),
        }
    }

    /// Widths of the tower; a tower that is not spelt out has the three layers of the public benchmarks.
    pub(super) fn mlp(&self) -> Vec<Width> {
        match &self.mlp {
            Some(widths) => widths.0.clone(),
            None => [512, 256, 128].map(super::sections::Size).to_vec(),
        }
    }

    fn unread(&self, section: &str) -> Fault {
        Fault::Config(format!("`{section}` means nothing to `{}`", self.architecture))
    }
}
