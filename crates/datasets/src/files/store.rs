use std::collections::HashMap;

use crate::{Error, Result};

/// Attributes by column, each different text kept once: tables of 400 000 rows repeat theirs.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttributeStore {
    names: Vec<String>,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Default)]
struct Column {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
    rows: Vec<u32>,
}

impl AttributeStore {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let columns = names.iter().map(|_| Column::default()).collect();
        Self { names, columns }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds one sample; `values` has one text per name, empty for an unknown one.
    pub(crate) fn push<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        let mut values = values.into_iter();
        for column in &mut self.columns {
            column.push(values.next().unwrap_or_default());
        }
    }

    /// See [`crate::Dataset::attribute`]; of `len` samples.
    pub(crate) fn attribute(&self, index: usize, len: usize, name: &str) -> Result<Option<String>> {
        if index >= len {
            return Err(Error::Index { index, len });
        }
        Ok(self.get(index, name).map(str::to_owned))
    }

    /// `None` for an unknown value, sample or name.
    fn get(&self, index: usize, name: &str) -> Option<&str> {
        let position = self.names.iter().position(|known| known == name)?;
        let column = self.columns.get(position)?;
        let text = column.texts.get(*column.rows.get(index)? as usize)?;
        (!text.is_empty()).then_some(text)
    }
}

impl Column {
    fn push(&mut self, text: &str) {
        let number = match self.numbers.get(text) {
            Some(&number) => number,
            None => {
                let number = self.texts.len() as u32;
                self.texts.push(text.into());
                self.numbers.insert(text.into(), number);
                number
            }
        };
        self.rows.push(number);
    }
}
