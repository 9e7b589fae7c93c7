//! Sums into the rows of tables: which lookups they come from, and where their gradients begin.

use super::Error;
use super::form::{Trained, lookups};
use super::jobs::Jobs;
use super::layout::Held;
use super::rows::{Operands, output};
use super::tables::Table;
use super::term::Term;
use crate::ir::Value;

impl Jobs<'_> {
    /// The gradient of a table of which only the rows are there that a batch looks up: where they begin.
    pub(super) fn touched_rows(&mut self, t: &Trained, held: &Held) -> Result<(), Error> {
        let mut sites = Vec::new();
        for term in t.gradients.iter().flat_map(|gradient| &gradient.terms) {
            let site = self.site(term)?;
            sites.push(site.ok_or_else(|| Error::refused(self.g, term.sum, "rows of a table in another form"))?);
        }
        let extent = self.g.shape(t.param).per_row()[0].max(1);
        // What is looked up and gets nothing is touched all the same.
        let known: Vec<Value> = sites.iter().flat_map(|(_, index)| lookups(self.g, *index)).collect();
        for index in t.touched.iter().flat_map(|touched| &touched.indices) {
            if lookups(self.g, *index).iter().any(|v| !known.contains(v)) {
                sites.push((None, *index));
            }
        }
        let before = self.lookups;
        self.table(t, held, self.partial, &sites)?;
        let rows = (self.lookups - before).min(extent);
        self.partial += (rows * (held.place.len() / extent)).next_multiple_of(4);
        Ok(())
    }

    pub(super) fn is_scatter(&self, term: &Term) -> bool {
        matches!(self.rows.sums.get(&term.sum), Some(Operands::Scatter { .. }))
    }

    /// Output and index of a sum into rows.
    pub(super) fn site(&self, term: &Term) -> Result<Option<(Option<usize>, Value)>, Error> {
        let Some(Operands::Scatter { b, index }) = self.rows.sums.get(&term.sum) else {
            return Ok(None);
        };
        if term.scale != 1.0 || !term.is_straight() {
            return Err(Error::refused(self.g, term.sum, "only sums into rows as they are"));
        }
        Ok(Some((Some(*b), *index)))
    }

    pub(super) fn table(
        &mut self,
        t: &Trained,
        held: &Held,
        target: usize,
        sites: &[(Option<usize>, Value)],
    ) -> Result<(), Error> {
        let shape = self.g.shape(t.param).per_row();
        let place = &held.place;
        if place.line != place.width && shape.len() != 2 {
            let why = "rows of a table in several lines with padding";
            return Err(Error::refused(self.g, t.param, why));
        }
        let extent = shape[0];
        let mut table = Table {
            name: held.name.clone(),
            extent,
            target,
            stride: place.len() / extent.max(1),
            width: place.lines * place.width / extent.max(1),
            sites: Vec::new(),
            touched: None,
            squared: held.in_parts || t.touched.is_some(),
        };
        for (b, index) in sites {
            let i = self.indices.insert_full(*index).0;
            table.sites.push((output(i), b.map(|b| (self.output_at)(b).0)));
            let per_row = self.g.shape(*index).per_row().iter().product::<usize>();
            self.lookups += self.capacity * per_row;
        }
        self.tables.push(table);
        Ok(())
    }
}
