//! One suite for all stores: SQLite, and those real servers that are installed (see
//! `kokeshi_testkit::servers`) and for which this crate has the feature.

mod fixtures;
#[cfg(any(feature = "chroma", feature = "milvus", feature = "postgres", feature = "qdrant"))]
mod servers;
mod suite;

use kokeshi_store::Address;

/// The cases of the suite as tests of a module; `$with` runs a case with the address of a store.
macro_rules! conforms {
    ($with:path, $($case:ident),+ $(,)?) => {
        $(
            #[test]
            fn $case() {
                $with(|address| crate::suite::$case(&crate::fixtures::Case {
                    address,
                    name: stringify!($case),
                }));
            }
        )+
    };
    ($with:path) => {
        conforms!(
            $with,
            a_collection_has_the_provenance_it_was_created_with,
            documents_are_written_replaced_and_removed,
            vectors_of_another_width_are_refused,
            search_finds_the_order_of_the_exact_cosines,
            filters_apply_before_the_limit,
            filters_match_the_same_values_everywhere,
            an_alias_moves_in_one_step,
            documents_come_back_as_they_were_written,
            existing_documents_are_not_inserted_again,
            a_document_grows_in_pieces,
            a_replacement_touches_only_its_own_collections,
            a_switch_moves_a_name_to_another_collection_and_back,
            roots_and_times_are_recorded,
            an_unsupported_storage_is_refused_with_the_supported_ones,
        );
    };
}

mod sqlite {
    use super::Address;

    fn with(case: impl FnOnce(&Address)) {
        let folder = tempfile::tempdir().expect("a folder");
        case(&Address::File(folder.path().join("index.db")));
    }

    conforms!(with);
}

#[cfg(feature = "chroma")]
mod chroma;
#[cfg(feature = "milvus")]
mod milvus;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "qdrant")]
mod qdrant;
