package mesh

import "slices"

// fault is a mistake in the protocol: an edit of a function, and what shows it.
type fault struct {
	name string
	in   string
	edit edit
	also edit // in the same function; none if it has no words

	setting string // a sort of worlds that show it
	worlds  int    // how many of them it took when it was planted last
	test    string // tests of which one shows it
}

// plantable are the faults of the protocol.
var plantable = slices.Concat(plantedInStreams, plantedInMembership)

// plantedInStreams are the faults of what comes, of repair and of the ring.
var plantedInStreams = []fault{
	// What comes.
	{name: "a copy is delivered", in: "Machine.receive",
		edit: stmt("advanceStreams", "m.deliver(p, seq, b); $"), setting: "healthy", worlds: 1},
	{name: "copies of a union are told by their topics alone", in: "Machine.receive",
		edit: cond("done has", "$ && v == past"), setting: "healthy", worlds: 15},
	{name: "past on one topic is past on all", in: "Machine.judge",
		edit: stmt("past", "return past"), setting: "faulty", worlds: 1},
	{name: "a copy moves nothing", in: "Machine.receive", edit: drop("advanceStreams"), setting: "faulty", worlds: 1},
	{name: "what is below the low watermark is delivered", in: "Machine.receive",
		edit:    stmt("low", "if seq <= p.low { m.emit(Deliver[B]{Broadcast: b.broadcast}) }; $"),
		setting: "faulty", worlds: 1},
	{name: "holes are passed", in: "Machine.judge", edit: never("Prev"), setting: "faulty", worlds: 1},
	{name: "holes count on topics that are not fenced yet", in: "Machine.judge",
		edit: never("presumed"), setting: "healthy", worlds: 31},
	{name: "members whose topic is past are not passed over", in: "Machine.deliver",
		edit: value("Past", "nil"), setting: "faulty", worlds: 17},
	{name: "requests do not pause their origin", in: "Machine.deliver",
		edit:    value("paused", "false"),
		setting: "faulty", worlds: 80, test: "TestRequestsAreCarriedOutInTheirPlace|TestPausedOrigin"},
	{name: "a node that is not known is delivered from", in: "Machine.receive",
		edit: stmt("started", "if !p.started { p.presumed = m.fence; p.start(seq - 1) }"), setting: "faulty", worlds: 49},
	{name: "what is missing in front is not noted", in: "Machine.receive",
		edit: drop("addGapsBefore"), test: "TestHoles|TestPresumedAnswer"},
	{name: "a loss begins where the heartbeats end", in: "Machine.skip",
		edit: value("After", "p.high"), setting: "short", worlds: 15, test: "TestHorizonOverAnOpenHole"},
	{name: "a loss begins at the birth of its origin", in: "Machine.skip",
		edit: value("After", "0"), setting: "short", worlds: 3},
	{name: "a loss has no end", in: "Machine.skip", edit: value("Upto", "1 << 62"), setting: "short", worlds: 3},
	{name: "what is lost may still come", in: "Machine.skip", edit: drop("raise"), setting: "short", worlds: 3},
	{name: "what is held is dropped with what is given up", in: "Machine.skip",
		edit: drop("flush"), test: "TestHorizonPassedBy|TestDeadNodeLeavesAGap"},
	{name: "the room of what was held is not given back", in: "Machine.unhold",
		edit: drop("heldBytes"), setting: "faulty", worlds: 1},
	{name: "numbers out of reach are taken", in: "Machine.receive",
		edit: cond("far", "seq > p.low+8*maxSpan && $"), test: "TestForgedNumbers"},
	{name: "broadcasts may be before what was before them", in: "Machine.Broadcast",
		edit: always("behindAll"), test: "TestForgedNumbers"},

	// heartbeats and repair.
	{name: "the horizon in a heartbeat is ignored", in: "Machine.handleHeartbeat",
		edit: never("Horizon"), setting: "short", worlds: 3, test: "TestHorizonPassedBy"},
	{name: "a heartbeat that was missed is not asked for", in: "Machine.handleHeartbeat",
		edit: drop("resync"), setting: "faulty", worlds: 3},
	{name: "a heartbeat that was missed is passed", in: "Machine.handleHeartbeat",
		edit: never("After high"), setting: "faulty", worlds: 1},
	{name: "parts of different lists make one", in: "Machine.handleHeartbeat",
		edit: always("partAfter"), test: "TestHeartbeatInParts"},
	{name: "the horizon in Gone is ignored", in: "Machine.handleGone",
		edit: never("Horizon low"), setting: "short", worlds: 15},
	{name: "what is gone and waits does not say for what", in: "Machine.handleGone",
		edit: drop("addGapsBefore"), test: "TestGoneThatWaits"},
	{name: "what is gone above the horizon is asked for late", in: "Machine.handleGone",
		edit: drop("moved true"), test: "TestGoneAboveTheHorizon"},
	{name: "what is gone and held is lost", in: "Machine.handleGone",
		edit: never("held"), test: "TestGoneBehindARequest"},
	{name: "what is gone and done is lost", in: "Machine.handleGone",
		edit: never("has"), setting: "short", worlds: 2},
	{name: "answers go beyond what was sent", in: "Machine.handleNack",
		edit: expr("handed", "m.ring.newest"), test: "TestHeartbeatsEndAtWhatWasSent"},
	{name: "the asker waits between windows", in: "Machine.handleGone",
		edit: drop("nackAt now"), test: "TestAskerGoesOnAtTheEndOfAnAnswer"},
	{name: "a Nack is repeated late", in: "Machine.Next", edit: drop("at"), setting: "faulty", worlds: 1},
	{name: "the interval between Nacks grows too far", in: "maxNackInterval",
		edit:    value("maxNackInterval", "6 * time.Second"),
		setting: "faulty", worlds: 28, test: "TestNackIsRepeated"},
	{name: "an answer in vain ends the question", in: "Machine.handleGone",
		edit: never("fruitless gaps"), test: "TestNackNamesAllInTurn"},
	{name: "an answer that comes twice begins another round", in: "Machine.handleGone",
		edit: drop("nacking false"), test: "TestNackNamesAllInTurn"},
	{name: "what an answer shows to be missing is asked for late", in: "inbox.addGap",
		edit: drop("moved"), test: "TestNackOfWhatAnAnswerShows"},
	{name: "the same streams are asked for again and again", in: "Machine.requestRepairs",
		edit: drop("window Limits"), setting: "faulty", worlds: 15, test: "TestNackNamesAllInTurn"},
	{name: "an answer has no end", in: "Machine.handleNack", edit: always("count"), test: "TestAnswerIsBounded"},
	{name: "the interval between Nacks does not grow", in: "Machine.requestRepairs",
		edit: drop("interval 2"), test: "TestNackIsRepeated"},

	// The ring.
	{name: "heartbeats list nothing", in: "ring.since", edit: drop("append"), setting: "faulty", worlds: 1},
	{name: "heartbeats do not list topics that go on behind their end", in: "ring.since",
		edit: never("last b"), setting: "faulty", worlds: 2},
	{name: "a topic that a union did not travel on does not know of it", in: "ring.add",
		edit:    stmt("last.last r", "if i < travels { $ }"),
		setting: "faulty", worlds: 1, test: "TestUnionOfManyRoomsIsAnswered"},
	{name: "a union does not know what was before it on a topic that it did not travel on", in: "ring.add",
		edit: stmt("Link Prev", "if i >= travels { p, prev[i] = r.horizon, r.horizon }; $"), setting: "faulty", worlds: 1},
	{name: "a broadcast is answered for the topics that it travelled on alone", in: "Machine.handleNack",
		edit:    cond("r.After", "$ && slices.Contains(e.links[:e.travels], l)"),
		setting: "faulty", worlds: 1, test: "TestUnionOfManyRoomsIsAnswered"},
	{name: "heartbeats list topics that nothing travelled on", in: "ring.since",
		edit: expr("e.travels", "e.links"), also: value("last", "r.ends[l.Hash].last"),
		test: "TestUnionOfManyRoomsIsAnswered"},
	{name: "heartbeats do not list what travelled on a topic before a union that did not", in: "ring.since",
		edit: value("last", "r.ends[l.Hash].last"), test: "TestSince|TestUnionOfManyRoomsIsAnswered"},
	{name: "the links of unions cost nothing in the ring", in: "linked",
		edit: stmt("linkBytes", "return size"), test: "TestRingOfWideUnions|TestHeldWideUnions"},
	{name: "the ring remembers any number of links", in: "ring.trim",
		edit: never("linksPerStamp"), test: "TestRingOfWideUnions"},
	{name: "the links that leave the ring are not given back", in: "ring.forget",
		edit: drop("r.links"), test: "TestRingOfWideUnions"},
	{name: "a Gone has any number of links", in: "Machine.handleNack",
		edit: never("maxGoneLinks"), test: "TestGoneOfWideUnions"},
	{name: "a forgotten topic begins at 0", in: "ring.add",
		edit: value("p r.horizon", "0"), setting: "short", worlds: 2121, test: "TestRingIsBounded|TestRingExpires"},
	{name: "payloads of unsent broadcasts leave the ring", in: "ring.trim",
		edit: cond("stripped handed", "r.stripped < r.newest"), test: "TestUnsentNumbersStay|TestUnsentBroadcastsStay"},
	{name: "stamps of unsent broadcasts leave the ring", in: "ring.trim",
		edit: always("r.horizon handed"), test: "TestUnsentNumbersStay|TestUnsentBroadcastsStay"},
	{name: "unsent broadcasts expire", in: "ring.expire",
		edit: cond("stripped handed", "r.stripped < r.newest"), test: "TestUnsentNumbersStay|TestUnsentBroadcastsStay"},
	{name: "the age of unsent broadcasts begins before they are sent", in: "Machine.release",
		edit: drop("renew"), test: "TestUnsentBroadcastsStay"},
}
