//! LoopFM's sequence module: embeddings that a foundation model left of past events, encoded beside the other features.
//!
//! Input `loopfm f32[rows, T, d]`, `loopfm_mask bool[rows, T]`, and `loopfm_<side> i32[rows, T]` for what is known of the events
//! beside their embeddings ([`sides`](super::sides)), which makes `d` larger. Encoders: `mean` and `sum` of the events, `din` and `dmin` by
//! attention with the query `Linear([target's embeddings]) [rows, d]`, under [`din`]'s and
//! [`dmin`](super::dmin)'s names:
//!
//! | tensor | shape |
//! |---|---|
//! | `loopfm.query.weight`, `loopfm.query.bias` | `[d, K]`, `[d]` |
//! | `din`: `loopfm.attention.<i>.weight`, .. | |
//! | `dmin`: `loopfm.interests.qkv.weight`, .. | |

use super::dmin::{Heads, interests};
use super::features::{Features, pooled};
use super::parts::{Built, Parts};
use super::sections::{Attention, Encoder, List, LoopFm, Pooling, Size};
use super::sides::{known, with_sides};
use super::spec::Spec;
use super::{Fault, din};
use crate::ir::Value;
use crate::tensor::DType;

/// What the specification makes of the past, `[rows, d]`, from `dmin` `[rows, heads d]`.
pub(super) fn encoded(p: &mut Parts, spec: &Spec, features: &Features) -> Result<Option<Value>, Fault> {
    let Some(like) = &spec.loopfm else { return Ok(None) };
    let (length, width) = (like.length.0, like.width.0);
    if like.softmax.is_some() && like.encoder != Encoder::Din {
        return Err(Fault::Config(
            "`loopfm.softmax` is an option of the encoder `din`".into(),
        ));
    }
    let events = p.input("loopfm", DType::F32, &[length, width], like.per_request)?;
    let sides = known(p, "loopfm", &like.side, (length, like.per_request))?;
    let events = with_sides(p, events, &sides)?;
    let mask = p.input("loopfm_mask", DType::Bool, &[length], like.per_request)?;
    let x = match like.encoder {
        Encoder::Mean => pooled(p, events, mask, Pooling::Mean)?,
        Encoder::Sum => pooled(p, events, mask, Pooling::Sum)?,
        Encoder::Din => {
            let query = query(p, spec, features, events)?;
            din::attend(p, "loopfm.attention", query, events, mask, &scorer(like))?
        }
        Encoder::Dmin => {
            let query = query(p, spec, features, events)?;
            let like = Heads {
                heads: like.heads.map_or(4, |n| n.0),
                layer_norm: true,
                position: like.position.map_or(8, |width| width.0),
                attention: &scorer(like),
                dropout: spec.dropout.unwrap_or_default().0,
            };
            let interests = interests(p, "loopfm.interests", events, query, mask, &like)?;
            p.beside(&interests)?
        }
    };
    p.point("loopfm", x);
    Ok(Some(x))
}

/// The target as wide as an event.
fn query(p: &mut Parts, spec: &Spec, features: &Features, events: Value) -> Built {
    let named = spec.loopfm.as_ref().map_or(&[][..], |like| &like.target.0);
    let names = match (named, spec.history.0.first()) {
        ([], Some(history)) => &history.of.0[..],
        ([], None) => {
            return Err(Fault::Config(
                "`loopfm.target` names no features, and there is no history to take them from".into(),
            ));
        }
        (names, _) => names,
    };
    let target = features.named(p, "loopfm.target", names)?;
    p.linear("loopfm.query", target, p.width(events))
}

fn scorer(like: &LoopFm) -> Attention {
    Attention {
        layers: Some(like.layers.clone().unwrap_or(List([80, 40].map(Size).to_vec()))),
        softmax: like.softmax,
        ..Attention::default()
    }
}
