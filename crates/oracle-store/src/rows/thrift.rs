//! The structures of a Parquet file as bytes: Thrift's compact protocol, looked at before
//! the decoder reads it.
//!
//! The decoder trusts what a structure states of itself: it makes room for as many list
//! elements as are announced, and follows the schema's groups by recursion. A footer of a
//! few bytes can so ask for gigabytes or for more stack than a thread has, which ends the
//! process. Here nothing is allocated, and every count is held against the bytes there are.

/// Structures inside structures, beyond what any writer makes.
const MAX_DEPTH: usize = 32;
/// Groups inside groups of a schema: deeper ones would not fit a thread's stack when they
/// are decoded, framed and written.
const MAX_SCHEMA_DEPTH: usize = 100;

/// Why some bytes are no structure that may be decoded.
pub(super) type Malformed = &'static str;

/// How much there is to decode in a footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FooterSize {
    /// Elements of the schema: columns and groups.
    pub(super) columns: u64,
    /// Structures of all kinds.
    pub(super) structures: u64,
}

/// Refuses a footer that a decoder must not be given, and measures it.
pub(super) fn check_footer(footer: &[u8]) -> Result<FooterSize, Malformed> {
    let mut reader = Reader::new(footer);
    let mut columns = 0;
    reader.fields(|reader, id, kind| {
        if id == FileMetaData::SCHEMA && kind == Kind::LIST {
            columns = reader.schema()?;
            Ok(())
        } else {
            reader.skip(kind, MAX_DEPTH)
        }
    })?;
    Ok(FooterSize {
        columns,
        structures: reader.structures,
    })
}

/// Refuses a structure of which a list states more elements than it can have, or that is
/// nested too deeply.
pub(super) fn check_structure(structure: &[u8]) -> Result<(), Malformed> {
    Reader::new(structure).skip(Kind::STRUCT, MAX_DEPTH)
}

/// What a page's header states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// The page is an index, which no reader reads.
    pub(super) is_index: bool,
    /// Bytes of the page once it is decompressed.
    pub(super) uncompressed_bytes: u64,
    /// Bytes of the page as it is stored, without this header.
    pub(super) compressed_bytes: u64,
    /// Bytes of this header.
    pub(super) header_bytes: u64,
}

/// Reads a page's header at the start of some bytes; none if they are too few.
pub(super) fn page_header(bytes: &[u8]) -> Result<Option<PageHeader>, Malformed> {
    let mut reader = Reader::new(bytes);
    let (mut kind_of_page, mut uncompressed, mut compressed) = (0, -1, -1);
    let read = reader.fields(|reader, id, kind| {
        let field = match id {
            PageHeader::TYPE => &mut kind_of_page,
            PageHeader::UNCOMPRESSED_PAGE_SIZE => &mut uncompressed,
            PageHeader::COMPRESSED_PAGE_SIZE => &mut compressed,
            _ => return reader.skip(kind, MAX_DEPTH),
        };
        if kind != Kind::I32 {
            return Err("a field of a page's header has another type");
        }
        *field = reader.signed()?;
        Ok(())
    });
    match read {
        Err(what) if what == CUT => return Ok(None),
        read => read?,
    }
    let size = |bytes: i64| u64::try_from(bytes).map_err(|_| "a page states no size");
    Ok(Some(PageHeader {
        is_index: kind_of_page == PageHeader::INDEX_PAGE,
        uncompressed_bytes: size(uncompressed)?,
        compressed_bytes: size(compressed)?,
        header_bytes: (bytes.len() - reader.rest.len()) as u64,
    }))
}

impl PageHeader {
    const TYPE: i64 = 1;
    const UNCOMPRESSED_PAGE_SIZE: i64 = 2;
    const COMPRESSED_PAGE_SIZE: i64 = 3;
    const INDEX_PAGE: i64 = 1;
}

/// Field numbers of `FileMetaData`.
struct FileMetaData;

impl FileMetaData {
    const SCHEMA: i64 = 2;
}

/// Field numbers of `SchemaElement`.
struct SchemaElement;

impl SchemaElement {
    const NUM_CHILDREN: i64 = 5;
}

/// The types of the compact protocol.
struct Kind;

impl Kind {
    const STOP: u8 = 0;
    const TRUE: u8 = 1;
    const FALSE: u8 = 2;
    const BYTE: u8 = 3;
    const I16: u8 = 4;
    const I32: u8 = 5;
    const I64: u8 = 6;
    const DOUBLE: u8 = 7;
    const BINARY: u8 = 8;
    const LIST: u8 = 9;
    const SET: u8 = 10;
    const MAP: u8 = 11;
    const STRUCT: u8 = 12;
    const UUID: u8 = 13;
}

const CUT: Malformed = "it ends too early";
const TOO_DEEP: Malformed = "it is nested too deeply";

#[derive(Debug)]
struct Reader<'a> {
    rest: &'a [u8],
    /// How many structures have begun.
    structures: u64,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            structures: 0,
        }
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(byte)
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Malformed> {
        let bytes = usize::try_from(bytes).map_err(|_| CUT)?;
        self.rest = self.rest.get(bytes..).ok_or(CUT)?;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("an integer is longer than 64 bits")
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Gives each field of the structure that starts here to a function, which reads it.
    fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, u8) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut id = 0;
        self.structures += 1;
        loop {
            let header = self.byte()?;
            let (delta, kind) = (header >> 4, header & 0x0f);
            if kind == Kind::STOP {
                return Ok(());
            }
            id = match delta {
                0 => self.signed()?,
                delta => id + i64::from(delta),
            };
            field(self, id, kind)?;
        }
    }

    /// The number and type of a list's elements.
    fn list(&mut self) -> Result<(u64, u8), Malformed> {
        let header = self.byte()?;
        let length = match header >> 4 {
            15 => self.unsigned()?,
            short => u64::from(short),
        };
        // Every element takes a byte at least.
        if length > self.rest.len() as u64 {
            return Err("a list states more elements than there are bytes");
        }
        Ok((length, header & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Malformed> {
        let below = || depth.checked_sub(1).ok_or(TOO_DEEP);
        match kind {
            // The value of a boolean field is in its type.
            Kind::TRUE | Kind::FALSE => Ok(()),
            Kind::BYTE => self.pass(1),
            Kind::I16 | Kind::I32 | Kind::I64 => self.unsigned().map(drop),
            Kind::DOUBLE => self.pass(8),
            Kind::UUID => self.pass(16),
            Kind::BINARY => {
                let length = self.unsigned()?;
                self.pass(length)
            }
            Kind::LIST | Kind::SET => {
                let (below, (length, kind)) = (below()?, self.list()?);
                (0..length).try_for_each(|_| self.skip_element(kind, below))
            }
            Kind::MAP => {
                let (below, length) = (below()?, self.unsigned()?);
                if length > self.rest.len() as u64 {
                    return Err("a map states more entries than there are bytes");
                }
                let kinds = if length == 0 { 0 } else { self.byte()? };
                (0..length).try_for_each(|_| {
                    self.skip_element(kinds >> 4, below)?;
                    self.skip_element(kinds & 0x0f, below)
                })
            }
            Kind::STRUCT => {
                let below = below()?;
                self.fields(|reader, _, kind| reader.skip(kind, below))
            }
            _ => Err("it has a type that is not known"),
        }
    }

    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<(), Malformed> {
        match kind {
            Kind::TRUE | Kind::FALSE => self.pass(1),
            kind => self.skip(kind, depth),
        }
    }

    /// Passes the list of a schema's elements, which come with the number of children that
    /// follow each, and says how many there are.
    fn schema(&mut self) -> Result<u64, Malformed> {
        let (length, kind) = self.list()?;
        if kind != Kind::STRUCT {
            return Err("its schema is no list of structures");
        }
        // The children that each open group still waits for.
        let mut open: Vec<u64> = Vec::with_capacity(MAX_SCHEMA_DEPTH);
        for left in (0..length).rev() {
            if let Some(children) = open.last_mut() {
                *children -= 1;
            }
            let children = self.schema_element()?;
            if children > left {
                return Err("a group of its schema states more columns than there are");
            }
            if children > 0 {
                open.push(children);
                if open.len() > MAX_SCHEMA_DEPTH {
                    return Err("its schema is nested deeper than 100 groups");
                }
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        Ok(length)
    }

    fn schema_element(&mut self) -> Result<u64, Malformed> {
        let mut children = 0;
        self.fields(|reader, id, kind| {
            if id == SchemaElement::NUM_CHILDREN && kind == Kind::I32 {
                let stated = reader.signed()?;
                children = u64::try_from(stated)
                    .map_err(|_| "a group has a negative number of columns")?;
                Ok(())
            } else {
                reader.skip(kind, MAX_DEPTH)
            }
        })?;
        Ok(children)
    }
}

#[cfg(test)]
mod tests;
