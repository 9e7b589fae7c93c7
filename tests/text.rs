//! The text form: exact on random graphs, and a line and a reason for every text that is no graph.

use crate::support::graphs::{self, for_random};
use loopfm::ir::{self, rows};

#[test]
fn random_graphs_are_row_local_and_read_back_as_written() {
    for_random(60, |case| {
        ir::verify(&case.graph).map_err(|e| e.to_string())?;
        rows::analyse(&case.graph).map_err(|e| e.to_string())?;
        let text = case.graph.to_string();
        let read = ir::parse(&text).map_err(|e| e.to_string())?;
        if read == case.graph && read.to_string() == text {
            Ok(())
        } else {
            Err(format!("reads back as\n{read}"))
        }
    });
    for seed in 0..4 {
        for case in [graphs::mlp(seed), graphs::dcn(seed), graphs::din(seed)] {
            rows::analyse(&case.graph).unwrap_or_else(|e| panic!("{e}\n{case}"));
            assert_eq!(ir::parse(&case.graph.to_string()).as_ref(), Ok(&case.graph), "{case}");
        }
    }
}
