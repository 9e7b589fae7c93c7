//! Raw rows as inputs of a bundle's model.

use crate::bundle::{Bundle, Manifest, Space};
use crate::tensor::{Data, HostTensor, Tensors};

/// What makes the inputs of a bundle's model of raw rows, where its file says so: the encoder that it was trained with.
///
/// ```no_run
/// use loopfm::bundle::Bundle;
/// use loopfm::data::{Column, RowBatch};
/// use loopfm::session::{Session, SessionOptions, encoder, inputs};
///
/// let bundle = Bundle::read("vm.loopfm".as_ref())?;
/// let session = Session::open(&bundle, &SessionOptions::default())?;
/// let encoder = encoder(&bundle)?.ok_or("trained on columns")?;
/// // As many rows as candidates; what belongs to the user stands in each.
/// let columns = [("user_id", vec![17; 2]), ("video_id", vec![3, 4]), ("time_ms", vec![1_650_812_741_436; 2])];
/// let rows = RowBatch::new("request", columns.map(|(name, v)| (name.to_owned(), Column::ints(v))));
/// let scores = session.run(&inputs(session.manifest(), encoder.encode(&rows)?))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`crate::data::Error`] when it is another version's, or unsound.
pub fn encoder(bundle: &Bundle) -> Result<Option<crate::data::Encoder>, crate::data::Error> {
    let text = bundle.notes.get(crate::bundle::FEATURES);
    text.map(|text| crate::data::Encoder::from_json(text)).transpose()
}

/// Of encoded rows those inputs that a model reads. Rows that agree in all that is of the request are one request, as those
/// of one user are; else each row is a request of its own.
#[must_use]
pub fn inputs(manifest: &Manifest, encoded: crate::data::Encoded) -> Tensors {
    let port = |name: &str| manifest.inputs.iter().find(|port| port.name == name);
    let rows = encoded.len();
    let mut inputs: Tensors = encoded
        .inputs
        .into_iter()
        .filter(|(name, _)| port(name).is_some())
        .collect();
    let of_request = |name: &str| port(name).is_some_and(|p| p.space == Space::Requests);
    if rows > 1 && inputs.iter().all(|(name, t)| !of_request(name) || rows_agree(t, rows)) {
        for (_, t) in inputs.iter_mut().filter(|(name, _)| of_request(name)) {
            *t = first_row(t, rows);
        }
    }
    inputs
}

fn rows_agree(t: &HostTensor, rows: usize) -> bool {
    fn agree<T: PartialEq>(data: &[T], width: usize) -> bool {
        data.iter().zip(data.iter().skip(width)).all(|(a, b)| a == b)
    }
    let width = t.data.len() / rows;
    match &t.data {
        Data::F32(x) => agree(x, width),
        Data::I32(x) => agree(x, width),
        Data::Bool(x) => agree(x, width),
    }
}

fn first_row(t: &HostTensor, rows: usize) -> HostTensor {
    let width = t.data.len() / rows;
    let data = match &t.data {
        Data::F32(x) => Data::F32(x[..width].to_vec()),
        Data::I32(x) => Data::I32(x[..width].to_vec()),
        Data::Bool(x) => Data::Bool(x[..width].to_vec()),
    };
    let mut shape = t.shape.clone();
    shape[0] = 1;
    HostTensor { shape, data }
}
