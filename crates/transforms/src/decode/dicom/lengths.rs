//! A walk over the data elements that only looks at their lengths: the reader allocates what an
//! element claims, and calls itself for each sequence within a sequence, so claims beyond the end
//! of the file and nesting without end have to be found before.

/// The first element that claims more than the file holds, or is nested too deep, in words; `Ok`
/// where there is none.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let rest = bytes.get(132..).unwrap_or_default();
    let mut walk = Walk { rest, big: false, explicit: true, open: Vec::new() };
    let syntax = walk.meta()?;
    match syntax.as_str() {
        "1.2.840.10008.1.2" => walk.explicit = false,
        "1.2.840.10008.1.2.2" => walk.big = true,
        "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" => {
            return Err(format!("the deflated transfer syntax {syntax} is not supported"));
        }
        _ => {}
    }
    walk.data_set()
}

struct Walk<'a> {
    rest: &'a [u8],
    big: bool,
    explicit: bool,
    /// The sequences and items that have begun and not ended, outermost first.
    open: Vec<Open>,
}

/// What ends a sequence or item.
enum Open {
    /// Its length: so many bytes of the file are left at its end.
    Left(usize),
    /// A delimiter of this tag.
    Delimiter((u16, u16)),
}

/// Sequences within sequences deeper than this are refused; real files have a handful.
pub(super) const DEEPEST: usize = 32;

struct Header {
    tag: (u16, u16),
    representation: [u8; 2],
    length: u32,
}

const UNDEFINED: u32 = u32::MAX;
const ITEM: (u16, u16) = (0xfffe, 0xe000);
const ITEM_END: (u16, u16) = (0xfffe, 0xe00d);
const SEQUENCE_END: (u16, u16) = (0xfffe, 0xe0dd);
const PIXEL_DATA: (u16, u16) = (0x7fe0, 0x0010);

impl<'a> Walk<'a> {
    /// Group 2, which is always explicit and little endian; returns the transfer syntax.
    fn meta(&mut self) -> Result<String, String> {
        let mut syntax = String::new();
        while self.rest.first_chunk::<2>().is_some_and(|group| *group == [2, 0]) {
            let header = self.header()?;
            let value = self.take(&header)?;
            if header.tag == (0x0002, 0x0010) {
                let text = String::from_utf8_lossy(value);
                text.trim_end_matches(['\0', ' ']).clone_into(&mut syntax);
            }
        }
        Ok(syntax)
    }

    fn data_set(&mut self) -> Result<(), String> {
        // What is shorter than a header is padding.
        while self.rest.len() >= 8 {
            self.close_ended();
            let header = self.header()?;
            let delimiter = header.tag.0 == ITEM.0;
            let sequence = header.representation == *b"SQ"
                || self.rest.starts_with(if self.big {
                    &[0xff, 0xfe, 0xe0, 0]
                } else {
                    &[0xfe, 0xff, 0, 0xe0]
                });
            if header.length == UNDEFINED && header.tag == PIXEL_DATA {
                self.fragments()?;
            } else if header.length == UNDEFINED
                || delimiter
                || (sequence && header.tag != PIXEL_DATA)
            {
                // The elements within follow; a definite length is checked all the same.
                if header.length != UNDEFINED {
                    self.check_length(&header)?;
                }
                if header.representation == *b"UN" {
                    return Err(format!("{} is of unknown kind and length", name(header.tag)));
                }
                self.nest(&header)?;
            } else {
                self.take(&header)?;
            }
        }
        Ok(())
    }

    /// Leaves the sequences and items whose length is over.
    fn close_ended(&mut self) {
        while matches!(self.open.last(), Some(Open::Left(left)) if self.rest.len() <= *left) {
            self.open.pop();
        }
    }

    /// Enters a sequence or item, or leaves one at its delimiter. A delimiter that does not belong
    /// to the innermost ends nothing, so that what is wrong is never taken for shallow.
    fn nest(&mut self, header: &Header) -> Result<(), String> {
        if matches!(header.tag, ITEM_END | SEQUENCE_END) {
            if matches!(self.open.last(), Some(Open::Delimiter(tag)) if *tag == header.tag) {
                self.open.pop();
            }
            return Ok(());
        }
        self.open.push(match header.length {
            UNDEFINED if header.tag == ITEM => Open::Delimiter(ITEM_END),
            UNDEFINED => Open::Delimiter(SEQUENCE_END),
            length => Open::Left(self.rest.len().saturating_sub(length as usize)),
        });
        // A level is a sequence and its item.
        if self.open.len() > 2 * DEEPEST {
            return Err(format!("{} is nested deeper than {DEEPEST} sequences", name(header.tag)));
        }
        Ok(())
    }

    /// Items of compressed pixel data.
    fn fragments(&mut self) -> Result<(), String> {
        while self.rest.len() >= 8 {
            let header = self.header()?;
            match header.tag {
                ITEM => self.take(&header)?,
                SEQUENCE_END => return Ok(()),
                tag => return Err(format!("{} within the pixel data", name(tag))),
            };
        }
        Err("the pixel data have no end".to_owned())
    }

    fn header(&mut self) -> Result<Header, String> {
        let tag = (self.two()?, self.two()?);
        if tag.0 == ITEM.0 || !self.explicit {
            return Ok(Header { tag, representation: *b"  ", length: self.four()? });
        }
        let representation = *self.bytes::<2>()?;
        if !representation.iter().all(u8::is_ascii_uppercase) {
            return Err(format!("{} has no value representation", name(tag)));
        }
        let long = matches!(
            &representation,
            b"OB"
                | b"OD"
                | b"OF"
                | b"OL"
                | b"OV"
                | b"OW"
                | b"SQ"
                | b"SV"
                | b"UC"
                | b"UN"
                | b"UR"
                | b"UT"
                | b"UV"
        );
        let length = if long {
            self.two()?;
            self.four()?
        } else {
            self.two()?.into()
        };
        Ok(Header { tag, representation, length })
    }

    fn check_length(&self, header: &Header) -> Result<(), String> {
        if header.length as usize > self.rest.len() {
            return Err(format!(
                "{} claims {} bytes where {} are left (truncated file)",
                name(header.tag),
                header.length,
                self.rest.len()
            ));
        }
        Ok(())
    }

    fn take(&mut self, header: &Header) -> Result<&'a [u8], String> {
        self.check_length(header)?;
        let (value, rest) = self.rest.split_at(header.length as usize);
        self.rest = rest;
        Ok(value)
    }

    fn bytes<const N: usize>(&mut self) -> Result<&'a [u8; N], String> {
        let (bytes, rest) =
            self.rest.split_first_chunk::<N>().ok_or("it ends within an element")?;
        self.rest = rest;
        Ok(bytes)
    }

    fn two(&mut self) -> Result<u16, String> {
        let bytes = *self.bytes::<2>()?;
        Ok(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn four(&mut self) -> Result<u32, String> {
        let bytes = *self.bytes::<4>()?;
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

fn name(tag: (u16, u16)) -> String {
    format!("({:04X},{:04X})", tag.0, tag.1)
}
