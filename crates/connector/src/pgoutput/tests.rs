//! The decoder against an encoder written from the manual.

use bytes::{BufMut as _, BytesMut};
use proptest::prelude::*;

use super::*;

fn encode_relation(relation: &Relation) -> Bytes {
    let mut data = BytesMut::new();
    data.put_u8(b'R');
    data.put_u32(relation.id);
    for name in [&relation.schema, &relation.table] {
        data.put_slice(name.as_bytes());
        data.put_u8(0);
    }
    data.put_u8(b'd');
    data.put_u16(u16::try_from(relation.columns.len()).unwrap());
    for column in &relation.columns {
        data.put_u8(1);
        data.put_slice(column.name.as_bytes());
        data.put_u8(0);
        data.put_u32(column.type_oid);
        data.put_i32(-1);
    }
    data.freeze()
}

fn encode_insert(relation: u32, columns: &[Column]) -> Bytes {
    let mut data = BytesMut::new();
    data.put_u8(b'I');
    data.put_u32(relation);
    data.put_u8(b'N');
    data.put_u16(u16::try_from(columns.len()).unwrap());
    for column in columns {
        let (kind, value) = match column {
            Column::Null => (b'n', None),
            Column::Unchanged => (b'u', None),
            Column::Text(value) => (b't', Some(value)),
            Column::Binary(value) => (b'b', Some(value)),
        };
        data.put_u8(kind);
        if let Some(value) = value {
            data.put_u32(u32::try_from(value.len()).unwrap());
            data.put_slice(value);
        }
    }
    data.freeze()
}

fn name() -> impl Strategy<Value = String> {
    "[^\0]{0,20}"
}

fn column() -> impl Strategy<Value = Column> {
    let value = || proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    prop_oneof![
        Just(Column::Null),
        Just(Column::Unchanged),
        value().prop_map(Column::Text),
        value().prop_map(Column::Binary),
    ]
}

fn message() -> impl Strategy<Value = Bytes> {
    let info = (name(), any::<u32>()).prop_map(|(name, type_oid)| ColumnInfo { name, type_oid });
    let relation = (
        any::<u32>(),
        name(),
        name(),
        proptest::collection::vec(info, 0..10),
    )
        .prop_map(|(id, schema, table, columns)| {
            encode_relation(&Relation {
                id,
                schema,
                table,
                columns,
            })
        });
    let insert = (any::<u32>(), proptest::collection::vec(column(), 0..10))
        .prop_map(|(relation, columns)| encode_insert(relation, &columns));
    prop_oneof![relation, insert]
}

proptest! {
    #[test]
    fn relations_round_trip(
        id: u32, schema in name(), table in name(),
        columns in proptest::collection::vec((name(), any::<u32>()), 0..10),
    ) {
        let columns = columns.into_iter().map(|(name, type_oid)| ColumnInfo { name, type_oid }).collect();
        let relation = Relation { id, schema, table, columns };
        prop_assert_eq!(decode(encode_relation(&relation)).unwrap(), Change::Relation(relation));
    }

    #[test]
    fn inserts_round_trip_without_a_copy(id: u32, columns in proptest::collection::vec(column(), 0..10)) {
        let message = encode_insert(id, &columns);
        let Change::Insert(relation, decoded) = decode(message.clone()).unwrap() else { panic!("not an insert") };
        let decoded: Vec<Column> = decoded.map(Result::unwrap).collect();
        prop_assert_eq!(relation, id);
        for column in &decoded {
            if let Column::Text(value) | Column::Binary(value) = column
                && !value.is_empty()
            {
                prop_assert!(message.as_ptr_range().contains(&value.as_ptr()));
            }
        }
        prop_assert_eq!(decoded, columns);
    }

    #[test]
    fn a_message_cut_short_is_an_error(message in message(), cut: prop::sample::Index) {
        let cut = message.slice(..cut.index(message.len()));
        let is_error = match decode(cut) {
            Ok(Change::Insert(_, mut columns)) => columns.any(|column| column.is_err()),
            other => other.is_err(),
        };
        prop_assert!(is_error);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Change::Insert(_, columns)) = decode(Bytes::from(bytes)) {
            columns.for_each(drop);
        }
    }
}

#[test]
fn what_an_outbox_does_not_have_is_passed_over() {
    for kind in *b"UDTYO" {
        assert_eq!(
            decode(Bytes::from(vec![kind, 0, 0, 0, 1])).unwrap(),
            Change::Other
        );
    }
}
