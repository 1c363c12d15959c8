//! The cheapest form of a weight matrix, found by writing all of them.

use super::bits::BitWriter;
use super::code::{Code, Counts, entropy_bits};
use super::ledger::{Category, Ledger};
use super::runs::classes;
use super::writer::Writer;
use no_std_core::weights::{TABLE_BITS, form, index_bits};

/// Which forms the encoder may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// One byte a weight, nothing coded: the form that dense kernels read fastest.
    Plain,
    /// Whatever is smallest without Huffman codes.
    Packed,
    /// Whatever is smallest.
    Smallest,
}

/// A matrix in one of its forms.
#[derive(Debug)]
pub(super) struct Written {
    /// Everything up to the stream.
    head: Writer,
    stream: Vec<u8>,
    position_bits: usize,
    /// Name for people.
    pub(super) encoding: String,
    /// Empirical entropy of the form's symbols, in bits.
    pub(super) entropy_bits: f64,
    /// Scratch bytes of the look-up tables.
    pub(super) table_bytes: usize,
    /// Whether the stream is int8 weights, aligned to four bytes.
    pub(super) plain: bool,
    /// Whether zeros have symbols of their own.
    pub(super) visits_zeros: bool,
}

impl Written {
    /// Bytes, alignment apart.
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.stream.len()
    }

    /// What its bytes are for, alignment apart.
    pub(super) fn ledger(&self) -> Ledger {
        let mut alone = self.head.clone();
        alone.stream(&self.stream, self.position_bits);
        alone.ledger()
    }

    /// Appends the form to an image.
    pub(super) fn append_to(&self, image: &mut Writer) {
        image.append(&self.head);
        if self.plain {
            image.align();
        }
        image.stream(&self.stream, self.position_bits);
    }
}

/// Largest codebook whose indices are tried without Huffman codes.
const MAX_INDEXED: usize = 128;

/// Writes a matrix in its smallest form.
pub(super) fn write(weights: &[i8], coding: Coding) -> Written {
    let mut forms = forms(weights, coding);
    let first = forms.remove(0);
    forms.into_iter().fold(
        first,
        |best, next| if next.len() < best.len() { next } else { best },
    )
}

/// Bytes of a matrix in its smallest form, alone in an image.
pub(crate) fn coded_bytes(weights: &[i8]) -> usize {
    write(weights, Coding::Smallest).len()
}

/// The form that has just this name and these coded bytes.
pub(super) fn find(weights: &[i8], encoding: &str, stream: &[u8]) -> Option<Written> {
    forms(weights, Coding::Smallest)
        .into_iter()
        .find(|form| form.encoding == encoding && form.stream == stream)
}

/// All forms allowed, one byte a weight first.
fn forms(weights: &[i8], coding: Coding) -> Vec<Written> {
    let matrix = Matrix::new(weights);
    let mut forms = vec![matrix.every(Values::Integer(8))];
    if coding != Coding::Plain {
        forms.extend(matrix.packed());
    }
    if coding == Coding::Smallest {
        forms.extend(matrix.huffman());
    }
    forms
}

struct Matrix<'w> {
    weights: &'w [i8],
    /// How often each int8 weight (as u8) occurs.
    counts: Counts,
    /// Zeros before each weight that is not zero, counted through row ends, and those after the last
    /// one, if any.
    runs: Vec<usize>,
}

/// A stream under construction, with the bits that say where weights stand counted apart.
#[derive(Default)]
struct Stream {
    bits: BitWriter,
    position_bits: usize,
}

impl Stream {
    fn position(&mut self, put: impl FnOnce(&mut BitWriter)) {
        let before = self.bits.len();
        put(&mut self.bits);
        self.position_bits += self.bits.len() - before;
    }

    fn finish(
        self,
        mut head: Writer,
        encoding: String,
        entropy_bits: f64,
        table_bytes: usize,
    ) -> Written {
        let position_bits = self.position_bits;
        let stream = self.bits.into_bytes();
        head.varint(Category::Operators, stream.len());
        Written {
            head,
            stream,
            position_bits,
            encoding,
            entropy_bits,
            table_bytes,
            plain: false,
            visits_zeros: false,
        }
    }
}

/// How values are said.
enum Values {
    Integer(usize),
    Indexed(Vec<i8>),
    Huffman(Box<Code>),
}

impl Values {
    fn huffman(counts: &Counts) -> Self {
        Values::Huffman(Box::new(Code::new(counts, TABLE_BITS)))
    }

    fn form(&self) -> u8 {
        match self {
            Values::Integer(_) => form::INTEGER,
            Values::Indexed(_) => form::INDEXED,
            Values::Huffman(_) => form::HUFFMAN,
        }
    }

    fn name(&self) -> String {
        match self {
            Values::Integer(bits) => format!("int{bits}"),
            Values::Indexed(codebook) => format!("codebook-{}", codebook.len()),
            Values::Huffman(_) => "huffman".to_owned(),
        }
    }

    /// Entropy of these symbols for coded values, their width otherwise.
    fn entropy_bits(&self, counts: &Counts) -> f64 {
        let width = match self {
            Values::Integer(bits) => *bits,
            Values::Indexed(codebook) => index_bits(codebook.len()) as usize,
            Values::Huffman(_) => return entropy_bits(counts),
        };
        width as f64 * counts.iter().sum::<u64>() as f64
    }

    /// The descriptor up to the values' own part, and the bytes of their look-up table.
    fn head(&self, positions: u8) -> (Writer, usize) {
        let mut head = Writer::default();
        head.u8(Category::Operators, positions | self.form());
        self.write(&mut head);
        (
            head,
            if let Values::Huffman(code) = self {
                code.table_bytes()
            } else {
                0
            },
        )
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Values::Integer(bits) => writer.u8(Category::Operators, *bits as u8),
            Values::Indexed(codebook) => {
                writer.u8(Category::Operators, (codebook.len() - 1) as u8);
                codebook
                    .iter()
                    .for_each(|&entry| writer.i8(Category::Codebooks, entry));
            }
            Values::Huffman(code) => code.write(writer, Category::Codebooks),
        }
    }

    fn put(&self, weight: i8, bits: &mut BitWriter) {
        match self {
            Values::Integer(width) => bits.put(weight as u8 as u32, *width),
            Values::Indexed(codebook) => {
                let index = codebook
                    .iter()
                    .position(|&entry| entry == weight)
                    .unwrap_or(0);
                bits.put(index as u32, index_bits(codebook.len()) as usize);
            }
            Values::Huffman(code) => code.put(weight as u8, bits),
        }
    }
}

impl<'w> Matrix<'w> {
    fn new(weights: &'w [i8]) -> Self {
        let mut counts = [0; 256];
        let (mut runs, mut run) = (Vec::new(), 0);
        for &weight in weights {
            counts[weight as u8 as usize] += 1;
            if weight == 0 {
                run += 1;
            } else {
                runs.push(run);
                run = 0;
            }
        }
        if run > 0 {
            runs.push(run);
        }
        Self {
            weights,
            counts,
            runs,
        }
    }

    fn nonzero_counts(&self) -> Counts {
        let mut counts = self.counts;
        counts[0] = 0;
        counts
    }

    /// Smallest two's complement width that holds every weight.
    fn width(&self) -> usize {
        let magnitude_bits =
            |w: i8| 8 - (if w < 0 { !w } else { w } as u8).leading_zeros() as usize;
        self.weights
            .iter()
            .map(|&w| magnitude_bits(w) + 1)
            .max()
            .unwrap_or(1)
    }

    fn entries(counts: &Counts) -> Vec<i8> {
        let mut entries: Vec<i8> = (0..=255u8)
            .filter(|&w| counts[w as usize] > 0)
            .map(|w| w as i8)
            .collect();
        entries.sort_unstable();
        entries
    }

    /// Forms without Huffman codes.
    fn packed(&self) -> Vec<Written> {
        let mut forms = vec![self.every(Values::Integer(self.width()))];
        let (all, nonzero) = (
            Self::entries(&self.counts),
            Self::entries(&self.nonzero_counts()),
        );
        if all.len() <= MAX_INDEXED {
            forms.push(self.every(Values::Indexed(all)));
        }
        forms.push(self.bitmap(match nonzero.len() {
            1..=MAX_INDEXED => Values::Indexed(nonzero),
            _ => Values::Integer(self.width()),
        }));
        forms
    }

    fn huffman(&self) -> Vec<Written> {
        let mut forms = vec![self.every(Values::huffman(&self.counts))];
        if self.counts[0] > 0 && self.nonzero_counts() != [0; 256] {
            let values = || Values::huffman(&self.nonzero_counts());
            forms.push(self.bitmap(values()));
            forms.extend(self.runs(values()));
        }
        forms
    }

    fn every(&self, values: Values) -> Written {
        let mut stream = Stream::default();
        self.weights
            .iter()
            .for_each(|&w| values.put(w, &mut stream.bits));
        let entropy = values.entropy_bits(&self.counts);
        let plain = matches!(values, Values::Integer(8));
        let (head, table_bytes) = values.head(form::EVERY);
        Written {
            plain,
            visits_zeros: true,
            ..stream.finish(head, values.name(), entropy, table_bytes)
        }
    }

    fn bitmap(&self, values: Values) -> Written {
        let mut stream = Stream::default();
        for &weight in self.weights {
            stream.position(|bits| bits.put((weight != 0) as u32, 1));
            if weight != 0 {
                values.put(weight, &mut stream.bits);
            }
        }
        let entropy = self.weights.len() as f64 + values.entropy_bits(&self.nonzero_counts());
        let (head, table_bytes) = values.head(form::BITMAP);
        stream.finish(
            head,
            format!("bitmap+{}", values.name()),
            entropy,
            table_bytes,
        )
    }

    /// Runs of zeros and the weights after them, each under its code; nothing where a run is longer
    /// than can be said.
    fn runs(&self, values: Values) -> Option<Written> {
        let classes = classes(&self.runs)?;
        let class_of = |run: usize| classes[classes.partition_point(|c| c.end() <= run)];
        let (mut counts, mut extra_bits) = ([0; 256], 0);
        for class in self.runs.iter().map(|&run| class_of(run)) {
            counts[class.meaning as usize] += 1;
            extra_bits += class.extra_bits() as usize;
        }
        let code = Code::new(&counts, TABLE_BITS);
        let mut stream = Stream::default();
        let mut nonzero = self.weights.iter().filter(|&&w| w != 0);
        for &run in &self.runs {
            stream.position(|bits| {
                let class = class_of(run);
                code.put(class.meaning, bits);
                bits.put(class.extra(run), class.extra_bits() as usize);
            });
            if let Some(&weight) = nonzero.next() {
                values.put(weight, &mut stream.bits);
            }
        }
        let positions = entropy_bits(&counts) + extra_bits as f64;
        let entropy = positions + values.entropy_bits(&self.nonzero_counts());
        let (mut head, table_bytes) = values.head(form::RUNS);
        code.write(&mut head, Category::CodeTables);
        Some(stream.finish(
            head,
            format!("runs+{}", values.name()),
            entropy,
            table_bytes + code.table_bytes(),
        ))
    }
}
