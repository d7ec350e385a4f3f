//! Making topics and looking at their ends.

use posthaste_broker::{Error, TopicOutcome, TopicSpec};

use crate::{name, with_broker};

#[test]
fn a_topic_is_made_once_and_left_as_it_is() {
    with_broker(|broker| async move {
        let mut spec = TopicSpec {
            name: name("topic"),
            partitions: 3,
            config: [].into(),
        };
        assert_eq!(
            broker.admin.ensure_topic(&spec).await.unwrap(),
            TopicOutcome::Created
        );
        spec.partitions = 5;
        assert_eq!(
            broker.admin.ensure_topic(&spec).await.unwrap(),
            TopicOutcome::Present { partitions: 3 }
        );
        assert_eq!(broker.admin.partitions(&spec.name).await.unwrap(), [0, 1, 2]);
        assert_eq!(broker.admin.watermarks(&spec.name, 2).await.unwrap(), (0, 0));
    });
}

#[test]
fn naming_a_topic_does_not_make_it() {
    with_broker(|broker| async move {
        let topic = name("absent");
        assert!(matches!(
            broker.admin.partitions(&topic).await,
            Err(Error::UnknownTopic(_))
        ));
        assert!(!broker.admin.topics().await.unwrap().contains(&topic));
    });
}

#[test]
fn the_last_record_that_fits_is_found_behind_others_within_the_bound() {
    with_broker(|broker| async move {
        let topic = broker.topic(3, &[]).await;
        broker.write(&topic, 0, "wanted-0").await;
        broker.write(&topic, 1, "wanted-1").await;
        for number in 0..100 {
            broker.write(&topic, 1, &format!("other-{number}")).await;
        }
        let pick = |record: &posthaste_broker::Record| {
            let value = std::str::from_utf8(record.value.as_deref()?).ok()?;
            value.starts_with("wanted").then(|| value.to_owned())
        };
        let found = broker
            .admin
            .last_matching(&topic, vec![0, 1, 2], 4096, pick)
            .await
            .unwrap();
        assert_eq!(
            found,
            [(0, "wanted-0".to_owned()), (1, "wanted-1".to_owned())].into()
        );
        let found = broker
            .admin
            .last_matching(&topic, vec![0, 1, 2], 50, pick)
            .await
            .unwrap();
        assert_eq!(found, [(0, "wanted-0".to_owned())].into());
    });
}
