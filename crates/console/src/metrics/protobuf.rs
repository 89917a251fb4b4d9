//! Prometheus' protobuf format: `io.prometheus.client.MetricFamily` messages, each after its length.
//!
//! `prometheus-client` writes it too, and needs a protobuf compiler to be built then: the dozen
//! fields that are used here are less than that. Native buckets are exported in this format alone;
//! classic ones stand beside them for a scraper that does not want the native ones.

use wsp::metrics::{Kind, Unit};
use wsp::replay::ExponentialBuckets;

use super::families::{Distribution, Family, Sample, Value};

/// A message's bytes as they grow.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

/// How a field's value is laid out.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, layout: u64) {
        self.varint((field << 3) | layout);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    /// A signed number, small ones of both signs in few bytes.
    fn signed(&mut self, field: u64, value: i64) {
        self.number(field, zigzag(value));
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, FIXED64);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// All families, each message after its length.
pub(super) fn encode(families: &[Family]) -> Vec<u8> {
    let mut all = Message::default();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let mut message = Message::default();
        encode_family(&mut message, family);
        all.varint(message.0.len() as u64);
        all.0.extend(message.0);
    }
    all.0
}

fn encode_family(to: &mut Message, family: &Family) {
    let metric = family.metric;
    to.text(1, metric.name);
    to.text(2, metric.help);
    let kind = match metric.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    };
    to.number(3, kind);
    for sample in &family.samples {
        to.message(4, |to| encode_sample(to, metric.kind, sample));
    }
    if metric.unit != Unit::None {
        to.text(5, metric.unit.as_str());
    }
}

fn encode_sample(to: &mut Message, kind: Kind, sample: &Sample) {
    for (name, value) in &sample.labels {
        to.message(1, |to| {
            to.text(1, name);
            to.text(2, value);
        });
    }
    match &sample.value {
        Value::Number(number) => {
            let field = if kind == Kind::Counter { 3 } else { 2 };
            to.message(field, |to| to.double(1, *number));
        }
        Value::Distribution(of) => to.message(7, |to| encode_distribution(to, of)),
    }
}

fn encode_distribution(to: &mut Message, of: &Distribution) {
    to.number(1, of.count);
    to.double(2, of.sum);
    for (bound, cumulative) in &of.classic {
        to.message(3, |to| {
            to.number(1, *cumulative);
            to.double(2, *bound);
        });
    }
    to.signed(5, i64::from(of.schema));
    // What is nearer to zero than this is in the bucket of zero.
    to.double(6, 1e-6);
    to.number(7, of.native.zero_count);
    let (spans, deltas) = sparse(&of.native);
    for (offset, length) in spans {
        to.message(12, |to| {
            to.signed(1, offset);
            to.number(2, length);
        });
    }
    let mut packed = Message::default();
    for delta in &deltas {
        packed.varint(zigzag(*delta));
    }
    if !deltas.is_empty() {
        to.bytes(13, &packed.0);
    }
}

/// Runs of buckets without a gap, each as its distance to the one before and its length; and each
/// bucket's count less the one before.
fn sparse(buckets: &ExponentialBuckets) -> (Vec<(i64, u64)>, Vec<i64>) {
    let mut spans: Vec<(i64, u64)> = Vec::new();
    let mut deltas = Vec::new();
    let (mut next, mut before) = (0, 0);
    for &(index, count) in &buckets.counts {
        let gap = i64::from(index) - next;
        match spans.last_mut() {
            Some((_, length)) if gap == 0 => *length += 1,
            _ => spans.push((gap, 1)),
        }
        next = i64::from(index) + 1;
        deltas.push(count as i64 - before);
        before = count as i64;
    }
    if spans.is_empty() {
        // Else it would be taken for a classic histogram.
        spans.push((0, 0));
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::families::families;
    use super::super::families::tests::figures;
    use super::*;

    /// A field of a message, as a reader that knows no schema sees it.
    #[derive(Debug, Clone, PartialEq)]
    enum Field {
        Number(u64),
        Double(f64),
        Bytes(Vec<u8>),
    }

    impl Field {
        fn number(&self) -> u64 {
            match self {
                Self::Number(number) => *number,
                other => panic!("{other:?}"),
            }
        }

        fn double(&self) -> f64 {
            match self {
                Self::Double(number) => *number,
                other => panic!("{other:?}"),
            }
        }

        fn signed(&self) -> i64 {
            unzigzag(self.number())
        }

        fn fields(&self) -> Vec<(u64, Self)> {
            match self {
                Self::Bytes(bytes) => fields(bytes),
                other => panic!("{other:?}"),
            }
        }

        fn text(&self) -> String {
            match self {
                Self::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn unzigzag(value: u64) -> i64 {
        ((value >> 1) as i64) ^ -((value & 1) as i64)
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    fn take<'b>(bytes: &mut &'b [u8], length: usize) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(length);
        *bytes = rest;
        taken
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let field = match key & 7 {
                VARINT => Field::Number(varint(&mut bytes)),
                FIXED64 => {
                    let raw = take(&mut bytes, 8).try_into().unwrap();
                    Field::Double(f64::from_le_bytes(raw))
                }
                BYTES => {
                    let length = varint(&mut bytes) as usize;
                    Field::Bytes(take(&mut bytes, length).to_vec())
                }
                other => panic!("layout {other}"),
            };
            fields.push((key >> 3, field));
        }
        fields
    }

    fn all(fields: &[(u64, Field)], number: u64) -> Vec<Field> {
        let wanted = fields.iter().filter(|field| field.0 == number);
        wanted.map(|field| field.1.clone()).collect()
    }

    fn only(fields: &[(u64, Field)], number: u64) -> Field {
        let [field] = &all(fields, number)[..] else {
            panic!("{number} of {fields:?}")
        };
        field.clone()
    }

    fn distribution(of: &[(u64, Field)]) -> Distribution {
        let classic = all(of, 3).into_iter().map(|bucket| {
            let bucket = bucket.fields();
            (only(&bucket, 2).double(), only(&bucket, 1).number())
        });
        let mut deltas = Vec::new();
        for packed in all(of, 13) {
            let Field::Bytes(packed) = packed else {
                panic!("not packed")
            };
            let mut rest = &packed[..];
            while !rest.is_empty() {
                deltas.push(unzigzag(varint(&mut rest)));
            }
        }
        let (mut index, mut count, mut counts) = (0, 0, Vec::new());
        let mut deltas = deltas.into_iter();
        for span in all(of, 12) {
            let span = span.fields();
            index += only(&span, 1).signed();
            for _ in 0..only(&span, 2).number() {
                count += deltas.next().unwrap();
                counts.push((index as i32, count as u64));
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        Distribution {
            count: only(of, 1).number(),
            sum: only(of, 2).double(),
            classic: classic.collect(),
            schema: only(of, 5).signed() as i8,
            native: ExponentialBuckets {
                zero_count: only(of, 7).number(),
                counts,
            },
        }
    }

    #[test]
    fn what_is_written_is_read_the_same_by_who_knows_the_wire_format() {
        let written = families(&figures());
        let bytes = encode(&written);
        let mut rest = &bytes[..];
        for family in &written {
            let length = varint(&mut rest) as usize;
            let message = fields(take(&mut rest, length));
            assert_eq!(only(&message, 1).text(), family.metric.name);
            assert_eq!(only(&message, 2).text(), family.metric.help);
            let kind = only(&message, 3).number();
            let metrics = all(&message, 4);
            assert_eq!(metrics.len(), family.samples.len());
            for (metric, sample) in metrics.iter().zip(&family.samples) {
                let metric = metric.fields();
                let labels = all(&metric, 1).into_iter().map(|pair| {
                    let pair = pair.fields();
                    (only(&pair, 1).text(), only(&pair, 2).text())
                });
                let expected = sample.labels.iter();
                let expected = expected.map(|(name, value)| ((*name).to_owned(), value.clone()));
                assert!(labels.eq(expected), "{}", family.metric.name);
                let value = match (kind, family.metric.kind) {
                    (0, Kind::Counter) => {
                        Value::Number(only(&only(&metric, 3).fields(), 1).double())
                    }
                    (1, Kind::Gauge) => Value::Number(only(&only(&metric, 2).fields(), 1).double()),
                    (4, Kind::Histogram) => {
                        Value::Distribution(distribution(&only(&metric, 7).fields()))
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(value, sample.value, "{}", family.metric.name);
            }
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_known_family_has_the_bytes_that_the_format_says() {
        let family = Family {
            metric: wsp::metrics::STREAMS,
            samples: vec![Sample {
                labels: Vec::new(),
                value: Value::Number(2.0),
            }],
        };
        let bytes = encode(&[family]);
        let name = wsp::metrics::STREAMS.name;
        // Field 1, as bytes, behind the length of the whole.
        assert_eq!(
            (bytes[0] as usize, &bytes[1..3]),
            (bytes.len() - 1, &[0x0a, name.len() as u8][..])
        );
        // Type 1, a metric of 11 bytes, in it a gauge of 9, in it a double.
        let end = [0x18, 1, 0x22, 11, 0x12, 9, 0x09, 0, 0, 0, 0, 0, 0, 0, 0x40];
        assert_eq!(bytes[bytes.len() - end.len()..], end);
    }

    proptest! {
        #[test]
        fn sparse_buckets_are_those_that_hold_something(
            counts in prop::collection::btree_map(-200_i32..200, 1_u64..1_000_000, 0..60),
        ) {
            let counts: Vec<(i32, u64)> = counts.into_iter().collect();
            let native = ExponentialBuckets { zero_count: 3, counts };
            let of = Distribution { count: 1, sum: 2.0, classic: Vec::new(), schema: 3, native };
            let mut message = Message::default();
            encode_distribution(&mut message, &of);
            prop_assert_eq!(distribution(&fields(&message.0)), of);
        }
    }
}
