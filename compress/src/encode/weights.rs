//! The cheapest form of a weight matrix: the sizes of all are counted, and the smallest is written.

pub(super) mod hashed;
pub(super) mod vector;

use super::bits::BitWriter;
use super::code::{Code, Counts, entropy_bits};
use super::context::{self, Coded};
use super::ledger::{Category, Ledger};
use super::runs::{Class, classes};
use super::writer::Writer;
use no_std_core::context::Neighbours;
use no_std_core::huffman::SAME;
use no_std_core::panels::Layout;
use no_std_core::weights::{TABLE_BITS, form, index_bits};

/// Which forms the encoder may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// One byte a weight, nothing coded: the form that dense kernels read fastest.
    Plain,
    /// Whatever is smallest without entropy codes.
    Packed,
    /// Whatever is smallest without range codes, which take a device some ten times as long to read as
    /// Huffman codes.
    Huffman,
    /// Whatever is smallest without Huffman codes.
    Range,
    /// Whatever is smallest.
    Smallest,
}

impl Coding {
    /// Whether an image may ask its readers for the feature `context`.
    pub(super) fn is_tight(self) -> bool {
        matches!(self, Coding::Range | Coding::Smallest)
    }
}

/// A matrix to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source<'w> {
    /// Row by row.
    pub(super) weights: &'w [i8],
    /// Weights of a row.
    pub(super) columns: usize,
    /// Where what is beside and above a weight's input stands in the row, if the input has such places.
    pub(super) neighbours: Neighbours,
    /// How the last matrix before says its runs, of those that do.
    pub(super) runs: Option<&'w Runs>,
}

/// Classes of runs and their code.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    classes: Vec<Class>,
    code: Box<Code>,
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
    /// Whether the head is panels, aligned to four bytes, and all that there is.
    pub(super) panels: Option<Layout>,
    /// Whether zeros have symbols of their own.
    pub(super) visits_zeros: bool,
    /// Whether what stands beside the weights may be coded too.
    pub(super) tight: bool,
    /// How it says runs, if it does.
    pub(super) runs: Option<Runs>,
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

    /// Panels, which biases and multipliers are part of.
    pub(super) fn in_panels(panels: Writer, layout: Layout, entropy_bits: f64) -> Self {
        Self {
            head: panels,
            stream: Vec::new(),
            position_bits: 0,
            encoding: super::panels::ENCODING.to_owned(),
            entropy_bits,
            table_bytes: 0,
            plain: false,
            panels: Some(layout),
            visits_zeros: true,
            tight: false,
            runs: None,
        }
    }

    /// Whether it is read where its operator may write over its input.
    pub(super) fn is_dense(&self) -> bool {
        self.plain || self.panels.is_some()
    }

    /// Appends the form to an image.
    pub(super) fn append_to(&self, image: &mut Writer) {
        if self.panels.is_some() {
            image.align();
        }
        image.append(&self.head);
        if self.plain {
            image.align();
        }
        image.stream(&self.stream, self.position_bits);
    }
}

/// Largest codebook whose indices are tried without entropy codes.
const MAX_INDEXED: usize = 128;

/// Writes a matrix in its smallest form.
pub(super) fn write(source: Source, coding: Coding) -> Written {
    let matrix = Matrix::new(source);
    let mut forms = matrix.forms(coding).into_iter();
    let first = forms
        .next()
        .unwrap_or_else(|| matrix.every(Values::Integer(8)));
    let smallest = forms.fold(
        first,
        |best, next| if next.len() < best.len() { next } else { best },
    );
    Written {
        tight: coding.is_tight(),
        ..smallest.write(&matrix)
    }
}

/// The smallest of a form and others.
fn smaller(best: Written, others: impl Iterator<Item = Written>) -> Written {
    let tight = best.tight;
    let smallest = others.fold(
        best,
        |best, next| if next.len() < best.len() { next } else { best },
    );
    Written { tight, ..smallest }
}

/// Bytes of a matrix in its smallest form, alone in an image.
pub(crate) fn coded_bytes(weights: &[i8], columns: usize) -> usize {
    let source = Source {
        weights,
        columns,
        ..Source::default()
    };
    write(source, Coding::Smallest).len()
}

/// The form that has just this name and these coded bytes.
pub(super) fn find(source: Source, encoding: &str, stream: &[u8]) -> Option<Written> {
    let matrix = Matrix::new(source);
    let forms = matrix.forms(Coding::Smallest).into_iter();
    forms
        .filter(|form| form.name() == encoding && form.stream_bits.div_ceil(8) == stream.len())
        .map(|form| form.write(&matrix))
        .find(|written| written.stream == stream)
}

pub(super) struct Matrix<'w> {
    source: Source<'w>,
    /// How often each int8 weight (as u8) occurs.
    counts: Counts,
    /// Zeros before each weight that is not zero, counted through row ends, and those after the last
    /// one, if any.
    runs: Vec<usize>,
}

/// A form before its stream is written: all that its size depends on.
pub(super) struct Form {
    positions: Positions,
    values: Values,
    /// Everything up to the stream.
    head: Writer,
    stream_bits: usize,
    position_bits: usize,
    entropy_bits: f64,
    table_bytes: usize,
}

/// How positions are said.
enum Positions {
    Every,
    Runs(Runs),
    Bitmap,
    Context(Coded),
    /// Values of groups, in their order; a hash says where they stand.
    Hashed,
    /// Indices of vectors of so many weights.
    Vectors(usize),
}

impl Form {
    /// Bytes, alignment apart.
    fn len(&self) -> usize {
        self.head.len() + self.stream_bits.div_ceil(8)
    }

    fn name(&self) -> String {
        let values = self.values.name();
        match self.positions {
            Positions::Every => values,
            Positions::Runs(_) => format!("runs+{values}"),
            Positions::Bitmap => format!("bitmap+{values}"),
            Positions::Context(_) => format!("context+{values}"),
            Positions::Hashed => format!("hashed+{values}"),
            Positions::Vectors(dimension) => format!("vector-{dimension}+{values}"),
        }
    }

    pub(super) fn write(self, matrix: &Matrix) -> Written {
        let encoding = self.name();
        let visits_zeros = matches!(
            self.positions,
            Positions::Every | Positions::Hashed | Positions::Vectors(_)
        );
        let every = matches!(self.positions, Positions::Every);
        let plain = every && matches!(self.values, Values::Integer(8));
        let runs = match &self.positions {
            Positions::Runs(runs) => Some(runs.clone()),
            _ => None,
        };
        let stream = match self.positions {
            Positions::Context(coded) => coded.stream,
            positions => {
                let mut bits = BitWriter::with_capacity(self.stream_bits.div_ceil(8));
                positions.put(matrix, &self.values, &mut bits);
                bits.into_bytes()
            }
        };
        debug_assert_eq!(stream.len(), self.stream_bits.div_ceil(8));
        Written {
            runs,
            head: self.head,
            stream,
            position_bits: self.position_bits,
            encoding,
            entropy_bits: self.entropy_bits,
            table_bytes: self.table_bytes,
            plain,
            panels: None,
            visits_zeros,
            tight: false,
        }
    }
}

impl Positions {
    /// Appends all weights of a matrix.
    fn put(&self, matrix: &Matrix, values: &Values, bits: &mut BitWriter) {
        let weights = matrix.source.weights;
        match self {
            Positions::Every | Positions::Hashed | Positions::Vectors(_) => {
                weights.iter().for_each(|&w| values.put(w, bits));
            }
            Positions::Bitmap => weights.iter().for_each(|&weight| {
                bits.put((weight != 0) as u32, 1);
                if weight != 0 {
                    values.put(weight, bits);
                }
            }),
            Positions::Runs(runs) => {
                let mut nonzero = weights.iter().filter(|&&w| w != 0);
                for &run in &matrix.runs {
                    runs.put(run, bits);
                    if let Some(&weight) = nonzero.next() {
                        values.put(weight, bits);
                    }
                }
            }
            // Written while it was sized.
            Positions::Context(_) => {}
        }
    }
}

impl Runs {
    /// Fitted to runs; nothing where one is longer than can be said.
    fn new(runs: &[usize]) -> Option<Self> {
        let classes = classes(runs)?;
        let (counts, _) = count(&classes, runs)?;
        let code = Box::new(Code::new(&counts, TABLE_BITS));
        Some(Self { classes, code })
    }

    fn put(&self, run: usize, bits: &mut BitWriter) {
        if let Some(class) = class_of(&self.classes, run) {
            self.code.put(class.meaning, bits);
            bits.put(class.extra(run), class.extra_bits() as usize);
        }
    }

    /// Bits of runs and their entropy as symbols of this code; nothing where it lacks one.
    fn bits(&self, runs: &[usize]) -> Option<(usize, f64)> {
        let (counts, extra_bits) = count(&self.classes, runs)?;
        let bits = self.code.holds(&counts).then(|| self.code.bits(&counts))?;
        Some((bits + extra_bits, entropy_bits(&counts) + extra_bits as f64))
    }
}

/// How often the meaning of each class occurs, and the bits behind them all; nothing where a run is beyond the
/// classes.
fn count(classes: &[Class], runs: &[usize]) -> Option<(Counts, usize)> {
    let (mut counts, mut extra_bits) = ([0; 256], 0);
    for &run in runs {
        let class = class_of(classes, run)?;
        counts[class.meaning as usize] += 1;
        extra_bits += class.extra_bits() as usize;
    }
    Some((counts, extra_bits))
}

fn class_of(classes: &[Class], run: usize) -> Option<Class> {
    let place = classes.partition_point(|class| class.end() <= run);
    classes.get(place).copied()
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
        match self {
            Values::Huffman(_) => entropy_bits(counts),
            _ => self.bits(counts) as f64,
        }
    }

    fn bits(&self, counts: &Counts) -> usize {
        let width = match self {
            Values::Integer(bits) => *bits,
            Values::Indexed(codebook) => index_bits(codebook.len()) as usize,
            Values::Huffman(code) => return code.bits(counts),
        };
        width * counts.iter().sum::<u64>() as usize
    }

    fn table_bytes(&self) -> usize {
        match self {
            Values::Huffman(code) => code.table_bytes(),
            _ => 0,
        }
    }

    /// The descriptor up to the values' own part.
    fn head(&self, positions: u8) -> Writer {
        let mut head = Writer::default();
        head.u8(Category::Operators, positions | self.form());
        self.write(&mut head);
        head
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
                let index = codebook.binary_search(&weight).unwrap_or(0);
                bits.put(index as u32, index_bits(codebook.len()) as usize);
            }
            Values::Huffman(code) => code.put(weight as u8, bits),
        }
    }
}

impl<'w> Matrix<'w> {
    pub(super) fn new(source: Source<'w>) -> Self {
        let mut counts = [0; 256];
        let (mut runs, mut run) = (Vec::new(), 0);
        for &weight in source.weights {
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
            source,
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
        let widths = entries(&self.counts)
            .into_iter()
            .map(|w| magnitude_bits(w) + 1);
        widths.max().unwrap_or(1)
    }

    /// All forms allowed, one byte a weight first.
    fn forms(&self, coding: Coding) -> Vec<Form> {
        let mut forms = vec![self.every(Values::Integer(8))];
        if coding != Coding::Plain {
            forms.extend(self.packed());
        }
        if matches!(coding, Coding::Huffman | Coding::Smallest) {
            forms.extend(self.huffman());
        }
        if coding.is_tight() {
            forms.extend(self.contexts());
        }
        forms
    }

    /// Forms without entropy codes.
    fn packed(&self) -> Vec<Form> {
        let mut forms = vec![self.every(Values::Integer(self.width()))];
        let (all, nonzero) = (entries(&self.counts), entries(&self.nonzero_counts()));
        if all.len() <= MAX_INDEXED {
            forms.push(self.every(Values::Indexed(all)));
        }
        forms.push(self.bitmap(match nonzero.len() {
            1..=MAX_INDEXED => Values::Indexed(nonzero),
            _ => Values::Integer(self.width()),
        }));
        forms
    }

    fn huffman(&self) -> Vec<Form> {
        let mut forms = vec![self.every(Values::huffman(&self.counts))];
        if self.counts[0] > 0 && self.nonzero_counts() != [0; 256] {
            let values = || Values::huffman(&self.nonzero_counts());
            forms.push(self.bitmap(values()));
            let own = Runs::new(&self.runs);
            forms.extend(own.and_then(|own| self.runs(own, false, values())));
            let last = self.source.runs.cloned();
            forms.extend(last.and_then(|last| self.runs(last, true, values())));
        }
        forms
    }

    fn every(&self, values: Values) -> Form {
        let stream_bits = values.bits(&self.counts);
        let entropy_bits = values.entropy_bits(&self.counts);
        let mut head = values.head(form::EVERY);
        head.varint(Category::Operators, stream_bits.div_ceil(8));
        Form {
            positions: Positions::Every,
            head,
            stream_bits,
            position_bits: 0,
            entropy_bits,
            table_bytes: values.table_bytes(),
            values,
        }
    }

    fn bitmap(&self, values: Values) -> Form {
        let (position_bits, counts) = (self.source.weights.len(), self.nonzero_counts());
        let stream_bits = position_bits + values.bits(&counts);
        let mut head = values.head(form::BITMAP);
        head.varint(Category::Operators, stream_bits.div_ceil(8));
        Form {
            positions: Positions::Bitmap,
            head,
            stream_bits,
            position_bits,
            entropy_bits: position_bits as f64 + values.entropy_bits(&counts),
            table_bytes: values.table_bytes(),
            values,
        }
    }

    /// Runs of zeros and the weights after them, each under its code, of which the first may be that of a
    /// matrix before; nothing where that cannot say them.
    fn runs(&self, runs: Runs, same: bool, values: Values) -> Option<Form> {
        let (position_bits, entropy_of_runs) = runs.bits(&self.runs)?;
        let nonzero = self.nonzero_counts();
        let stream_bits = position_bits + values.bits(&nonzero);
        let mut head = values.head(form::RUNS);
        match same {
            true => head.u8(Category::CodeTables, SAME),
            false => runs.code.write(&mut head, Category::CodeTables),
        }
        head.varint(Category::Operators, stream_bits.div_ceil(8));
        Some(Form {
            head,
            stream_bits,
            position_bits,
            entropy_bits: entropy_of_runs + values.entropy_bits(&nonzero),
            table_bytes: values.table_bytes() + runs.code.table_bytes(),
            positions: Positions::Runs(runs),
            values,
        })
    }

    /// Range codes with no neighbours, with those beside a weight, and with those above it too.
    pub(super) fn contexts(&self) -> Vec<Form> {
        let Neighbours { near, far } = self.source.neighbours;
        let mut models = vec![Neighbours::default()];
        if near > 0 {
            models.push(Neighbours { near, far: 0 });
        }
        if far > 0 {
            models.push(Neighbours { near, far });
        }
        let forms = models
            .into_iter()
            .map(|neighbours| self.context(neighbours));
        forms.flatten().collect()
    }

    fn context(&self, neighbours: Neighbours) -> Option<Form> {
        let codebook = entries(&self.nonzero_counts());
        if codebook.is_empty() {
            return None;
        }
        let Source {
            weights, columns, ..
        } = self.source;
        let coded = context::encode(weights, columns, &codebook, neighbours)?;
        let values = Values::Indexed(codebook);
        let mut head = values.head(form::CONTEXT);
        coded.write(&mut head);
        Some(Form {
            head,
            stream_bits: coded.stream.len() * 8,
            position_bits: coded.position_bits as usize,
            entropy_bits: coded.bits,
            table_bytes: coded.scratch_bytes,
            positions: Positions::Context(coded),
            values,
        })
    }
}

/// The weights that occur, ascending.
fn entries(counts: &Counts) -> Vec<i8> {
    let occurs = |&w: &i8| counts[w as u8 as usize] > 0;
    (i8::MIN..=i8::MAX).filter(occurs).collect()
}
