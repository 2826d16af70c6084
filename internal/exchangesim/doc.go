// Package exchangesim is a stand-in for Exchange: an HTTPS server that answers the Exchange Web Services calls
// ResolveNames (MS-OXWSRSLNM) and ExpandDL (MS-OXWSDLIST) and the ActiveSync commands Provision, ResolveRecipients, Search
// and ValidateCert (MS-ASCMD, MS-ASPROV) from a made-up address book, and that spoils its answers on command. It is for tests, benchmarks, the demo and trying things out; the keys of its people are public.
//
// It is as strict as Exchange about requests, hands out certificates only for ReturnFullContactData="true" with
// ContactDataShape="AllProperties", and holds at most 100 candidates in one answer, in an order that means nothing. NTLM
// (MS-NLMP, NTLMv2 only) and Basic are checked; NTLM authenticates a connection, as with IIS.
//
// ActiveSync has the versions 2.5 to 16.1, both forms of the query, and a policy that devices must acknowledge when
// Options.ActiveSync says so. Like Exchange it shows fewer certificates than EWS: bare ones only, of the authority that it
// trusts, valid today.
//
// Autodiscover names its services by JSON, XML and SOAP, see the type of this name.
//
// # The address book
//
// The same number of entries and the same seed always make the same address book with the same certificates, byte for
// byte. Besides the people at fixed addresses (see the constants), of the ordinary entries 90 % are people, 4 % contacts
// of other companies, 3 % shared mailboxes, 3 % groups.
//
// Names come from embedded lists of 300 first names and 600 surnames in ten languages (English 30 %, German 24 %, down to
// Turkish 3 %); within a language the n-th name weighs 1/(n+4), so that the first surname is ten times as frequent as
// the sixtieth. 15 % of the people have first name and surname from two languages, 4 % a double surname, 15 % a middle
// initial. Addresses are first.last, transliterated to ASCII; 12 % f.last, 7 % first.m.last; namesakes get a number. 10 %
// have their primary address in sales.corp.example, 10 % in corp.example.org, the others in corp.example. 40 % have a
// nickname address flast, 6 % that of a former surname, 8 % first_last, half of those in sales another one in
// corp.example.
//
// Of the people, 76 % hold a usable RSA certificate, 12 % none, 4 % an expired one, 3 % a renewed one beside the expired,
// 2 % an EC one, and 3 % something that cannot be used or not at once. Half of the values are bare DER in
// MSExchangeCertificate, 35 % SignedData in UserSMIMECertificate with DER in the other, 10 % MS-OXOABK settings, 5 % bare
// DER in UserSMIMECertificate.
//
// How uneven that is, for seed 1: 17 % of the people's addresses start with m, 15 % with j, 11 % with a, 8 % with s, none
// with x. 10,000 entries have 15,294 addresses, 42 of them never listed; to find them all by "smtp:" prefixes that are
// split one character at a time, 134 answers are truncated and 1,028 are complete and find somebody. For 100,000 entries
// it is 1,641 and 8,488. Directory.PrefixCost counts this for any directory.
//
// # Cost
//
// 100,000 entries are there in about a second and take 71 MiB; certificates are made when they are first asked for (about
// 0.4 ms each) and kept, 227 MiB when all of them were.
package exchangesim
