//! Reader groups of one process: who holds which partition, and who may commit for it (I-04).
//!
//! A member that opens or drops makes a new generation; positions are taken only from members that have
//! seen the newest one, so nobody commits for a partition that another member may already read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::catalog::Topic;

/// What a member learns at a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Held partitions, as (index into the member's topics, partition, generation since which), at this generation.
    Holds(u64, Vec<(usize, i32, u64)>),
    /// Another reader of the same instance name took this one's place.
    Replaced,
}

struct Member {
    instance: String,
    topics: Vec<Arc<Topic>>,
}

/// One group.
#[derive(Default)]
struct Group {
    /// Grows at each join and leave. Shared with the readers, which look at it without a lock.
    generation: Arc<AtomicU64>,
    members: BTreeMap<u64, Member>,
    /// Who holds a partition of a topic, and since which generation: a member that lost one and got it back between two
    /// polls must hear of it, as another one may have read it meanwhile.
    owners: HashMap<(u32, i32), (u64, u64)>,
}

/// All groups. Lives under the commit lock.
#[derive(Default)]
pub(super) struct Groups {
    groups: HashMap<String, Group>,
    next_member: u64,
}

impl Groups {
    /// Adds a member; one with the same instance name loses its place. Returns its id and the generation.
    pub(super) fn join(&mut self, group: &str, instance: &str, topics: Vec<Arc<Topic>>) -> (u64, Arc<AtomicU64>) {
        self.next_member += 1;
        let id = self.next_member;
        let group = self.groups.entry(group.to_owned()).or_default();
        group.members.retain(|_, member| member.instance != instance);
        group.members.insert(id, Member { instance: instance.to_owned(), topics });
        group.settle();
        (id, Arc::clone(&group.generation))
    }

    /// Removes a member, if it still is one.
    pub(super) fn leave(&mut self, group: &str, id: u64) {
        if let Some(group) = self.groups.get_mut(group)
            && group.members.remove(&id).is_some()
        {
            group.settle();
        }
    }

    /// What a member holds now.
    pub(super) fn standing(&self, group: &str, id: u64) -> Standing {
        let Some(group) = self.groups.get(group) else { return Standing::Replaced };
        let Some(member) = group.members.get(&id) else { return Standing::Replaced };
        let mut held = Vec::new();
        for (index, topic) in member.topics.iter().enumerate() {
            let owned = group.range(id, topic).into_iter();
            held.extend(owned.map(|partition| (index, partition, group.since(topic, partition))));
        }
        Standing::Holds(group.generation.load(Ordering::Acquire), held)
    }

    /// True when the member has seen the newest generation.
    pub(super) fn is_current(&self, group: &str, id: u64, generation: u64) -> bool {
        self.groups.get(group).is_some_and(|group| {
            group.members.contains_key(&id) && group.generation.load(Ordering::Acquire) == generation
        })
    }

    /// True when the member holds the partition.
    pub(super) fn holds(&self, group: &str, id: u64, topic: u32, partition: i32) -> bool {
        self.groups.get(group).is_some_and(|group| {
            group.members.get(&id).is_some_and(|member| {
                member.topics.iter().any(|known| known.id == topic && group.range(id, known).contains(&partition))
            })
        })
    }
}

impl Group {
    /// Makes a new generation and notes what changed hands in it.
    fn settle(&mut self) {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let mut owned = Vec::new();
        for (id, member) in &self.members {
            for topic in &member.topics {
                owned.extend(self.range(*id, topic).into_iter().map(|partition| ((topic.id, partition), *id)));
            }
        }
        let mut owners = HashMap::with_capacity(owned.len());
        for (place, id) in owned {
            let since =
                self.owners.get(&place).filter(|(owner, _)| *owner == id).map_or(generation, |(_, since)| *since);
            owners.insert(place, (id, since));
        }
        self.owners = owners;
    }

    fn since(&self, topic: &Topic, partition: i32) -> u64 {
        self.owners.get(&(topic.id, partition)).map_or(0, |(_, since)| *since)
    }

    /// The range assignor: members in order of instance name share the partitions of a topic in runs.
    /// Topics of equal partition count are cut alike, so a stage gets the same numbers of each.
    fn range(&self, id: u64, topic: &Topic) -> Vec<i32> {
        let mut takers: Vec<(&str, u64)> = self
            .members
            .iter()
            .filter(|(_, member)| member.topics.iter().any(|known| known.id == topic.id))
            .map(|(member_id, member)| (member.instance.as_str(), *member_id))
            .collect();
        takers.sort_unstable();
        let Some(rank) = takers.iter().position(|(_, member_id)| *member_id == id) else { return Vec::new() };
        let partitions = topic.partitions.len();
        let share = partitions / takers.len();
        let more = partitions % takers.len();
        let start = rank * share + rank.min(more);
        let count = share + usize::from(rank < more);
        (start..start + count).filter_map(|partition| i32::try_from(partition).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::tests::topic;
    use super::*;

    fn held(groups: &Groups, id: u64) -> Vec<i32> {
        match groups.standing("g", id) {
            Standing::Holds(_, held) => held.into_iter().map(|(_, partition, _)| partition).collect(),
            Standing::Replaced => panic!("replaced"),
        }
    }

    #[test]
    fn members_share_all_partitions_without_overlap() {
        let mut groups = Groups::default();
        let topic = topic(1, 7);
        let mut ids = Vec::new();
        for name in ["c", "a", "b"] {
            ids.push(groups.join("g", name, vec![Arc::clone(&topic)]).0);
            let mut all: Vec<i32> = ids.iter().flat_map(|id| held(&groups, *id)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..7).collect::<Vec<_>>());
        }
        assert_eq!(held(&groups, ids[1]), [0, 1, 2]);
        assert_eq!(held(&groups, ids[2]), [3, 4]);
        assert_eq!(held(&groups, ids[0]), [5, 6]);
        groups.leave("g", ids[1]);
        assert_eq!(held(&groups, ids[2]), [0, 1, 2, 3]);
    }

    #[test]
    fn only_the_newest_generation_may_commit() {
        let mut groups = Groups::default();
        let topic = topic(1, 2);
        let (first, generation) = groups.join("g", "a", vec![Arc::clone(&topic)]);
        let seen = generation.load(Ordering::Acquire);
        assert!(groups.is_current("g", first, seen));
        assert!(groups.holds("g", first, 1, 1));
        let (second, _) = groups.join("g", "b", vec![Arc::clone(&topic)]);
        assert!(!groups.is_current("g", first, seen));
        assert!(!groups.holds("g", first, 1, 1));
        assert!(groups.holds("g", second, 1, 1));
    }

    /// I-04: a partition that went to another member and came back is not the same as one that was kept.
    #[test]
    fn a_partition_that_came_back_is_held_anew() {
        let mut groups = Groups::default();
        let topic = topic(1, 2);
        let (first, _) = groups.join("g", "a", vec![Arc::clone(&topic)]);
        let before = groups.standing("g", first);
        let (second, _) = groups.join("g", "b", vec![topic]);
        groups.leave("g", second);
        assert_eq!(before, Standing::Holds(1, vec![(0, 0, 1), (0, 1, 1)]));
        assert_eq!(groups.standing("g", first), Standing::Holds(3, vec![(0, 0, 1), (0, 1, 3)]));
    }

    #[test]
    fn a_reader_of_the_same_name_takes_the_place() {
        let mut groups = Groups::default();
        let topic = topic(1, 2);
        let (old, _) = groups.join("g", "a", vec![Arc::clone(&topic)]);
        let (new, _) = groups.join("g", "a", vec![topic]);
        assert_eq!(groups.standing("g", old), Standing::Replaced);
        assert_eq!(held(&groups, new), [0, 1]);
    }
}
