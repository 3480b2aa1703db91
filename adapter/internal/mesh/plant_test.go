package mesh

import "slices"

// fault is a mistake in the protocol: an edit of a function, and what shows it.
type fault struct {
	name  string
	often bool // a plain test plants it, too: one alone, since each is a build
	in    string
	edit  edit
	also  edit // in the same function; none if it has no words

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
		edit: stmt("pass", "m.deliver(p, g, b); $"), setting: "healthy", worlds: 1},
	{name: "copies of a union are told by their topics alone", in: "Machine.receive",
		edit: cond("done has", "$ && v == past"), setting: "healthy", worlds: 15},
	{name: "past on one topic is past on all", in: "Machine.judge",
		edit: stmt("past", "return past"), setting: "faulty", worlds: 1},
	{name: "a copy moves nothing", in: "Machine.receive",
		edit: drop("pass"), setting: "faulty", worlds: 1},
	{name: "what is below the floor is delivered", in: "Machine.receive",
		edit:    stmt("floor", "if g <= p.floor { m.emit(Deliver[T]{Broadcast: b.broadcast}) }; $"),
		setting: "faulty", worlds: 1},
	{name: "holes are passed", in: "Machine.judge",
		edit: never("Prev"), setting: "faulty", worlds: 1},
	{name: "holes count on topics that are not fenced yet", in: "Machine.judge",
		edit: never("acked"), setting: "healthy", worlds: 31},
	{name: "members whose topic is past are not passed over", in: "Machine.deliver",
		edit: value("Past", "nil"), setting: "faulty", worlds: 17},
	{name: "requests do not pause their origin", in: "Machine.deliver",
		edit:    value("paused", "false"),
		setting: "faulty", worlds: 80, test: "TestRequestsAreCarriedOutInTheirPlace|TestPausedOrigin"},
	{name: "a node that is not known is delivered from", in: "Machine.receive",
		edit: stmt("known", "if !p.known { p.acked = m.f; p.start(g - 1) }"), setting: "faulty", worlds: 49},
	{name: "what is missing in front is not noted", in: "Machine.receive",
		edit: drop("missFront"), test: "TestHoles|TestPresumedAnswer"},
	{name: "a loss begins where the Beats end", in: "Machine.jump",
		edit: value("After", "p.goal"), setting: "short", worlds: 15, test: "TestHorizonOverAnOpenHole"},
	{name: "a loss begins at the birth of its origin", in: "Machine.jump",
		edit: value("After", "0"), setting: "short", worlds: 3},
	{name: "a loss has no end", in: "Machine.jump",
		edit: value("Upto", "1 << 62"), setting: "short", worlds: 3},
	{name: "what is lost may still come", in: "Machine.jump",
		edit: drop("raise"), setting: "short", worlds: 3},
	{name: "what is held is dropped with what is given up", in: "Machine.jump",
		edit: drop("flush"), test: "TestHorizonPassedBy|TestDeadNodeLeavesAGap"},
	{name: "the room of what was held is not given back", in: "Machine.unhold",
		edit: drop("heldBytes"), setting: "faulty", worlds: 1},
	{name: "numbers out of reach are taken", in: "Machine.receive",
		edit: cond("far", "g > p.floor+8*maxSpan && $"), test: "TestForgedNumbers"},
	{name: "broadcasts may be before what was before them", in: "Machine.Broadcast",
		edit: always("behindAll"), test: "TestForgedNumbers"},

	// Beats and repair.
	{name: "the horizon in a Beat is ignored", in: "Machine.beat",
		edit: never("S"), setting: "short", worlds: 3, test: "TestHorizonPassedBy"},
	{name: "a Beat that was missed is not asked for", in: "Machine.beat",
		edit: drop("resync"), setting: "faulty", worlds: 3},
	{name: "a Beat that was missed is passed", in: "Machine.beat",
		edit: never("A goal"), setting: "faulty", worlds: 1},
	{name: "parts of different lists make one", in: "Machine.beat",
		edit: always("partA"), test: "TestBeatInParts"},
	{name: "the horizon in Gone is ignored", in: "Machine.gone",
		edit: never("S floor"), setting: "short", worlds: 15},
	{name: "what is gone and waits does not say for what", in: "Machine.gone",
		edit: drop("missFront"), test: "TestGoneThatWaits"},
	{name: "what is gone above the horizon is asked for late", in: "Machine.gone",
		edit: drop("moved true"), test: "TestGoneAboveTheHorizon"},
	{name: "what is gone and held is lost", in: "Machine.gone",
		edit: never("held"), test: "TestGoneBehindARequest"},
	{name: "what is gone and done is lost", in: "Machine.gone",
		edit: never("has"), setting: "short", worlds: 2},
	{name: "answers go beyond what was sent", in: "Machine.answer",
		edit: expr("handed", "m.ring.g"), test: "TestBeatsEndAtWhatWasSent"},
	{name: "the asker waits between windows", in: "Machine.gone",
		edit: drop("askAt now"), test: "TestAskerGoesOnAtTheEndOfAnAnswer"},
	{name: "a Nack is repeated late", in: "Machine.Next",
		edit: drop("at"), setting: "faulty", worlds: 1},
	{name: "the interval between Nacks grows too far", in: "maxAskInterval",
		edit:    value("maxAskInterval", "6 * time.Second"),
		setting: "faulty", worlds: 28, test: "TestNackIsRepeated"},
	{name: "an answer in vain ends the question", in: "Machine.gone",
		edit: never("vain want"), test: "TestNackNamesAllInTurn"},
	{name: "an answer that comes twice begins another round", in: "Machine.gone",
		edit: drop("asking false"), test: "TestNackNamesAllInTurn"},
	{name: "what an answer shows to be missing is asked for late", in: "peer.miss",
		edit: drop("moved"), test: "TestNackOfWhatAnAnswerShows"},
	{name: "the same streams are asked for again and again", in: "Machine.ask",
		edit: drop("window Limits"), setting: "faulty", worlds: 15, test: "TestNackNamesAllInTurn"},
	{name: "an answer has no end", in: "Machine.answer",
		edit: always("count"), test: "TestAnswerIsBounded"},
	{name: "the interval between Nacks does not grow", in: "Machine.ask",
		edit: drop("pause 2"), test: "TestNackIsRepeated"},

	// The ring.
	{name: "Beats list nothing", often: true, in: "ring.since",
		edit: drop("append"), setting: "faulty", worlds: 1},
	{name: "Beats do not list topics that go on behind their end", in: "ring.since",
		edit: never("last b"), setting: "faulty", worlds: 2},
	{name: "a topic that a union did not travel on does not know of it", often: true, in: "ring.add",
		edit:    stmt("last.g r", "if i < travels { $ }"),
		setting: "faulty", worlds: 1, test: "TestUnionOfManyRoomsIsAnswered"},
	{name: "a union does not know what was before it on a topic that it did not travel on", in: "ring.add",
		edit: stmt("Link Prev", "if i >= travels { p, prev[i] = r.s, r.s }; $"), setting: "faulty", worlds: 1},
	{name: "a broadcast is answered for the topics that it travelled on alone", in: "Machine.answer",
		edit:    cond("r.After", "$ && slices.Contains(e.links[:e.travels], l)"),
		setting: "faulty", worlds: 1, test: "TestUnionOfManyRoomsIsAnswered"},
	{name: "Beats list topics that nothing travelled on", in: "ring.since",
		edit: expr("e.travels", "e.links"), also: value("last", "r.last[l.Hash].g"),
		test: "TestUnionOfManyRoomsIsAnswered"},
	{name: "Beats do not list what travelled on a topic before a union that did not", in: "ring.since",
		edit: value("last", "r.last[l.Hash].g"), test: "TestSince|TestUnionOfManyRoomsIsAnswered"},
	{name: "the links of unions cost nothing in the ring", in: "linked",
		edit: stmt("linkBytes", "return size"), test: "TestRingOfWideUnions|TestHeldWideUnions"},
	{name: "the ring remembers any number of links", in: "ring.trim",
		edit: never("linksPerStamp"), test: "TestRingOfWideUnions"},
	{name: "the links that leave the ring are not given back", in: "ring.forget",
		edit: drop("r.links"), test: "TestRingOfWideUnions"},
	{name: "a Gone has any number of links", in: "Machine.answer",
		edit: never("maxGoneLinks"), test: "TestGoneOfWideUnions"},
	{name: "a forgotten topic begins at 0", in: "ring.add",
		edit: value("p r.s", "0"), setting: "short", worlds: 2121, test: "TestRingIsBounded|TestRingExpires"},
	{name: "payloads of unsent broadcasts leave the ring", in: "ring.trim",
		edit: cond("bare handed", "r.bare < r.g"), test: "TestUnsentNumbersStay|TestUnsentBroadcastsStay"},
	{name: "stamps of unsent broadcasts leave the ring", in: "ring.trim",
		edit: always("r.s handed"), test: "TestUnsentNumbersStay|TestUnsentBroadcastsStay"},
	{name: "unsent broadcasts expire", in: "ring.expire",
		edit: cond("bare handed", "r.bare < r.g"), test: "TestUnsentNumbersStay|TestUnsentBroadcastsStay"},
	{name: "the age of unsent broadcasts begins before they are sent", in: "Machine.release",
		edit: drop("renew"), test: "TestUnsentBroadcastsStay"},
}
