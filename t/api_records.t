#!/usr/bin/env perl

# Records by the HTTP API: if this fails, a backend overwrites a change that it
# has not seen, is refused one that it may make, or reads another state than
# clients have.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Fanout::JSON;
use Fanout::Nginx;


# A delete raises the versions that new records of other channels get. So that
# tests can name versions, these channels have zones of their own.

my @alone = qw( p m n b k x );

my $nginx = Fanout::Nginx->start(
    http => join('', map { "fanout_zone z$_ 2m; fanout_channel z$_ * history=9 records=on;\n" }
                     @alone) . <<'END',
        fanout_zone app 16m;
        fanout_zone tiny 2m records=1%;
        fanout_channel app few:* history=10 records=on fields=4 record=100
                       records_max=3;
        fanout_channel app brief:* history=10 records=on records_ttl=1s;
        fanout_channel app off:*;
        fanout_channel app * history=1000 records=on;
        fanout_channel tiny * history=10 records=on;
        client_max_body_size 20m;
END
    server => join('', map { "location /z$_/ { fanout_api z$_; }\n" } @alone)
              . <<'END',
        location /fanout/  { fanout_api app; fanout_batch 64; }
        location /tiny/    { fanout_api tiny; }
        location /short/   { fanout_api app; fanout_message_size 100; }
        location /realtime { fanout app; fanout_permit all *; fanout_user ann; }
END
);

my $http = $nginx->http;


sub at { my ($c) = @_; (grep { $_ eq $c } @alone) ? "/z$c" : '/fanout' }

sub url {
    my ($channel, $id, $query) = @_;

    return at($channel) . "/channels/$channel/records" . (defined $id ? "/$id" : '')
           . (defined $query ? "?$query" : '');
}

sub ask {
    my ($method, $url, $body, %h) = @_;

    return $http->request($method, $url, headers => \%h,
                          defined $body
                          ? (body => ref $body ? Fanout::JSON::encode($body)
                                               : $body) : ());
}

sub patch  { my ($c, $id, $body, $q, %h) = @_; ask(PATCH => url($c, $id, $q), $body, %h) }
sub put    { my ($c, $id, $body, $q, %h) = @_; ask(PUT => url($c, $id, $q), $body, %h) }
sub remove { my ($c, $id, $q, %h) = @_; ask(DELETE => url($c, $id, $q), undef, %h) }
sub get    { my ($c, $id, $q, %h) = @_; ask(GET => url($c, $id, $q), undef, %h) }
sub fields { get(@_)->json->{fields} }

# makes so many records r1, r2, …; returns the number of those that are new

sub make {
    my ($channel, $n, $fields) = @_;

    my $made = 0;

    for (my $i = 1; $i <= $n; $i += 50) {
        my $r = ask(POST => '/fanout/batch', [
            map { { op => 'set', channel => $channel, record => "r$_",
                    set => $fields } } $i .. $i + 49 ]);

        $made += grep { $_->{ok}{created} } @{ $r->json };
    }

    return $made;
}

sub did {
    my ($r, $status, $want, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    subtest $name => sub {
        my %json = %{ $r->json };

        is($r->{status}, $status, 'status') or diag($r->{body});
        like(delete $json{epoch}, qr/^[0-9a-f]{16}$/, 'epoch');
        like(delete $json{offset}, qr/^\d+$/, 'offset');
        is_deeply(\%json, $want, 'what it did');
    };
}

sub refused {
    my ($r, $status, $code, $message, $name, $data) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    subtest $name => sub {
        is($r->{status}, $status, 'status') or diag($r->{body});
        is($r->{headers}{'content-type'}, 'application/json', 'type');

        my $error = $r->json->{error};

        is($error->{code}, $code, 'code');
        like($error->{message}, $message, 'message');
        is_deeply($error->{data}, $data, 'data') if $data;
    };
}

sub etag { $_[0]{headers}{etag} // '' }


subtest 'set and read' => sub {
    my $r = patch('a', 'r1', { set => { x => 1, y => [ 'b', undef ] } });

    did($r, 201, { version => 1, created => Fanout::JSON::true() }, 'made');
    is(etag($r), '"1"', 'its ETag');

    $r = patch('a', 'r1', { set => { x => 2, z => {} }, unset => [ 'y' ],
                            append => { l => [ 1, 2 ] } });
    did($r, 200, { version => 2 }, 'changed');
    is(etag($r), '"2"', 'its ETag');
    my $at = $r->json;

    $r = get('a', 'r1');
    did($r, 200, { record => 'r1', version => 2,
                   fields => { x => 2, z => {}, l => [ 1, 2 ] } }, 'read');
    is(etag($r), '"2"', 'its ETag');
    is($r->json->{offset}, $at->{offset}, 'at the position of the change');

    $r = get('a', 'r1', 'versions=1');
    is($r->json->{versions}{l}, 2, 'versions of fields');

    did(patch('a', 'r1', { set => { x => 2 } }), 200,
        { version => 2, unchanged => Fanout::JSON::true() }, 'nothing to do');
    did(patch('a', 'r1', {}), 200,
        { version => 2, unchanged => Fanout::JSON::true() }, 'nothing at all');
    did(patch('a', 'r1', { append => { l => [ { n => [] } ] } }), 200,
        { version => 3 }, 'appended');
    is_deeply(fields('a', 'r1')->{l}, [ 1, 2, { n => [] } ], 'in order');

    is($http->head(url('a', 'r1'))->{status}, 200, 'HEAD');
};


subtest 'put and delete' => sub {
    did(put('p', 'r', { a => 1, b => 2 }), 201,
        { version => 1, created => Fanout::JSON::true() }, 'made');
    did(put('p', 'r', { b => 2, c => 3 }), 200, { version => 2 }, 'replaced');
    is_deeply(fields('p', 'r'), { b => 2, c => 3 }, 'all of it');
    did(put('p', 'r', ' { "b" : 2, "c":3 } '), 200,
        { version => 2, unchanged => Fanout::JSON::true() }, 'the same');
    did(put('p', 'r', {}), 200, { version => 3 }, 'emptied');
    is_deeply(fields('p', 'r'), {}, 'no field');

    my $r = remove('p', 'r');
    did($r, 200, { version => 4 }, 'deleted');
    is(etag($r), '', 'without an ETag');
    refused(get('p', 'r'), 404, 'not_found', qr/no record "r"/, 'gone');
    refused(remove('p', 'r'), 404, 'not_found', qr/no record "r"/, 'once');

    $r = patch('p', 'r', { set => { a => 1 } });
    is($r->{status}, 201, 'made again');
    is($r->json->{version}, 5, 'its versions go on');
};


subtest 'If-Match' => sub {
    patch('m', 'r', { set => { a => 1, b => [] } });
    patch('m', 'r', { set => { a => 2 } });

    my $r = patch('m', 'r', { set => { a => 3 } }, undef, 'If-Match' => '"1"');
    refused($r, 412, 'conflict', qr/version 2/, 'another version',
            { version => 2, fields => { a => 2, b => [] } });
    is(etag($r), '"2"', 'the ETag of what is there');

    for my $tag ('"3"', '"9007199254740991"') {
        refused(patch('m', 'r', { set => { a => 3 } }, undef, 'If-Match' => $tag),
                412, 'conflict', qr/version 2/, "of the future: $tag",
                { version => 2, fields => { a => 2, b => [] } });
    }

    $r = patch('m', 'r', { set => { a => 3 } }, undef, 'If-Match' => '"2"');
    did($r, 200, { version => 3 }, 'this version');
    is(etag($r), '"3"', 'its ETag');

    did(patch('m', 'r', { set => { a => 4 } }, undef, 'If-Match' => 'W/"3"'),
        200, { version => 4 }, 'weak, as a proxy makes it');

    did(patch('m', 'r', { set => { a => 5 } }, undef, 'If-Match' => '*'),
        200, { version => 5 }, 'any');

    refused(patch('m', 'none', { set => { a => 5 } }, undef, 'If-Match' => '*'),
            412, 'conflict', qr/no record/, 'any: none',
            { version => 0, deleted => Fanout::JSON::true() });
    refused(patch('m', 'none', { set => { a => 5 } }, undef, 'If-Match' => '"5"'),
            412, 'conflict', qr/no record/, 'one: none',
            { version => 0, deleted => Fanout::JSON::true() });
    is(get('m', 'none')->{status}, 404, 'it was not made');

    $r = patch('m', 'r', { append => { a => [ 1 ] }, set => { b => 1 } }, undef,
               'If-Match' => '"5"');
    refused($r, 409, 'conflict', qr/version 5/, 'it holds, but a is no array',
            { version => 5, rejected =>
              { a => { value => 5, version => 5, reason => 'not_array' } } });
    is(fields('m', 'r')->{a}, 5, 'nothing was done');

    refused(put('m', 'r', { c => 1 }, undef, 'If-Match' => '"4"'), 412,
            'conflict', qr/version 5/, 'PUT: another',
            { version => 5, fields => { a => 5, b => [] } });
    did(put('m', 'r', { c => 1 }, undef, 'If-Match' => '"5"'), 200,
        { version => 6 }, 'PUT: this one');

    $r = remove('m', 'r', undef, 'If-Match' => '"5"');
    refused($r, 412, 'conflict', qr/version 6/, 'DELETE: another',
            { version => 6, fields => { c => 1 } });
    is(etag($r), '"6"', 'the ETag of what is there');
    did(remove('m', 'r', undef, 'If-Match' => '"6"'), 200, { version => 7 },
        'DELETE: this one');
    refused(remove('m', 'r', undef, 'If-Match' => '*'), 412, 'conflict',
            qr/no record/, 'DELETE: none',
            { version => 0, deleted => Fanout::JSON::true() });

    for my $tag ('', '7', '"x"', '"7", "8"', '"0"', '"-1"', 'W/7', '""',
                 '"18446744073709551616"')
    {
        refused(patch('m', 'r', {}, undef, 'If-Match' => $tag), 400,
                'bad_request', qr/If-Match is "\*" or one version/,
                "no version: '$tag'");
    }
};


subtest 'If-None-Match' => sub {
    did(patch('n', 'r', { set => { a => 1 } }, undef, 'If-None-Match' => '*'),
        201, { version => 1, created => Fanout::JSON::true() }, 'made');
    refused(patch('n', 'r', { set => { a => 1 } }, undef, 'If-None-Match' => '*'),
            412, 'conflict', qr/version 1/, 'PATCH: it is there',
            { version => 1, fields => { a => 1 } });
    my $r = put('n', 'r', { a => 2 }, undef, 'If-None-Match' => '*');
    refused($r, 412, 'conflict', qr/version 1/, 'PUT: it is there',
            { version => 1, fields => { a => 1 } });
    is(etag($r), '"1"', 'the ETag of what is there');
    did(put('n', 'r2', { a => 2 }, undef, 'If-None-Match' => '*'), 201,
        { version => 1, created => Fanout::JSON::true() }, 'PUT: made');

    for my $try ([ PUT => '"1"' ], [ PATCH => '' ], [ DELETE => '*' ]) {
        my ($method, $tag) = @$try;

        refused(ask($method => url('n', 'r'), $method eq 'DELETE' ? undef : {},
                    'If-None-Match' => $tag), 400, 'bad_request',
                qr/If-None-Match is "\*"/, "$method $tag");
    }

    is(get('n', 'r', undef, 'If-None-Match' => '"1"')->{status}, 200,
       'no condition of a GET');

    refused(patch('n', 'r', {}, undef, 'If-Match' => '*',
                  'If-None-Match' => '*'), 400, 'bad_request',
            qr/two conditions/, 'both');
    refused(patch('n', 'r', {}, 'base=1', 'If-Match' => '*'), 400,
            'bad_request', qr/"base" and "mode" exclude/, 'beside base');
    refused(patch('n', 'r', {}, 'mode=overwrite', 'If-None-Match' => '*'), 400,
            'bad_request', qr/"base" and "mode" exclude/, 'beside mode');
};


subtest 'base and mode' => sub {
    patch('b', 'r', { set => { a => 1, b => 1 } });
    patch('b', 'r', { set => { a => 2 } }, 'user=bob');

    my $bob = { a => { value => 2, version => 2, user => 'bob' } };

    did(patch('b', 'r', { set => { a => 9, b => 2 } }, 'base=1'), 200,
        { version => 3, partial => Fanout::JSON::true(), rejected => $bob },
        'merge: in part');
    my $r = patch('b', 'r', { set => { a => 9 } }, 'base=1');
    refused($r, 409, 'conflict', qr/version 3/, 'merge: nothing left',
            { version => 3, rejected => $bob });
    is(etag($r), '"3"', 'the ETag of what is there');
    refused(patch('b', 'r', { set => { a => 9, c => 1 } }, 'base=1&mode=reject'),
            409, 'conflict', qr/version 3/, 'reject: all or nothing',
            { version => 3, rejected => $bob });
    did(patch('b', 'r', { set => { a => 9 } }, 'base=1&mode=overwrite'), 200,
        { version => 4 }, 'overwrite');
    did(put('b', 'r', { b => 2, c => 1 }, 'base=4'), 200, { version => 5 },
        'PUT: merge');
    is_deeply(fields('b', 'r'), { b => 2, c => 1 }, 'so it is');

    refused(patch('b', 'r', { set => { a => 1 } }, 'base=9'), 409, 'conflict',
            qr/version 5/, 'of the future',
            { version => 5, unknown => Fanout::JSON::true() });
    refused(patch('b', 'gone', { set => { a => 1 } }, 'base=9'), 409,
            'conflict', qr/no record/, 'of none',
            { version => 0, deleted => Fanout::JSON::true() });
    did(patch('b', 'new', { set => { a => 1 } }, 'base=0'), 201,
        { version => 1, created => Fanout::JSON::true() }, 'from nothing');

    refused(remove('b', 'r', 'base=4'), 409, 'conflict', qr/version 5/,
            'DELETE: changed', { version => 5 });
    did(remove('b', 'r', 'base=5'), 200, { version => 6 }, 'DELETE: unchanged');

    refused(patch('b', 'r', {}, $_->[0]), 400, 'bad_request', $_->[1], $_->[0])
        for [ 'base=', qr/"base" is not a number/ ],
            [ 'base=-1', qr/"base" is not a number/ ],
            [ 'base=x', qr/"base" is not a number/ ],
            [ 'mode=', qr/"mode" is "merge", "reject" or "overwrite"/ ],
            [ 'base=1&mode=x', qr/"mode" is "merge", "reject" or "overwrite"/ ],
            [ 'mode=merge', qr/"mode" needs "base"/ ],
            [ 'mode=reject', qr/"mode" needs "base"/ ];
};


subtest 'a key' => sub {
    my $r = patch('k', 'r', { append => { l => [ 1 ] } }, 'user=ann',
                  'Fanout-Key' => 'one');
    did($r, 201, { version => 1, created => Fanout::JSON::true() }, 'made');

    my $again = patch('k', 'r', { append => { l => [ 1 ] } }, 'user=ann',
                      'Idempotency-Key' => 'one');
    did($again, 200, { version => 1, duplicate => Fanout::JSON::true() },
        'known');
    is($again->json->{offset}, $r->json->{offset}, 'the same offset');
    is_deeply(fields('k', 'r'), { l => [ 1 ] }, 'done once');

    did(patch('k', 'r', { append => { l => [ 2 ] } }, 'user=bob&key=one'), 200,
        { version => 2 }, 'of another user');
    did(patch('k', 'r', { set => { a => 1 } }, undef, 'If-Match' => '"2"',
              'Fanout-Key' => 'two'), 200, { version => 3 }, 'with a condition');
    did(patch('k', 'r', { set => { a => 1 } }, undef, 'If-Match' => '"2"',
              'Fanout-Key' => 'two'), 200,
        { version => 3, duplicate => Fanout::JSON::true() }, 'known first');
    did(remove('k', 'r', 'key=three'), 200, { version => 4 }, 'DELETE');
    did(remove('k', 'r', 'key=three'), 200,
        { version => 4, duplicate => Fanout::JSON::true() }, 'DELETE: known');

    refused(patch('k', 'r', {}, 'key=a', 'Fanout-Key' => 'b'), 400,
            'bad_request', qr/two keys/, 'two keys');
};


subtest 'pages' => sub {
    for my $i (1 .. 250) {
        patch('l', sprintf('%s-%03d', $i % 2 ? 'odd' : 'even', $i),
              { set => { n => $i } });
    }

    my (%all, $cursor, @sizes);

    do {
        my $r = get('l', undef, 'limit=60' . ($cursor ? "&cursor=$cursor" : ''));
        my $page = $r->json;

        is($r->{status}, 200, 'a page');
        is(etag($r), "\"$page->{epoch}:$page->{offset}\"", 'its ETag');
        is($page->{offset}, 250, 'its position');
        push @sizes, scalar keys %{ $page->{records} };
        %all = (%all, %{ $page->{records} });
        $cursor = $page->{cursor};
    } while ($cursor && @sizes < 20);

    is("@sizes", '60 60 60 60 10', 'as many as asked for');
    is(scalar keys %all, 250, 'each once');
    is_deeply($all{'odd-017'}, { version => 1, fields => { n => 17 } }, 'as it is');

    is(scalar keys %{ get('l')->json->{records} }, 100, '100 unless it is said');
    is(scalar keys %{ get('l', undef, 'limit=100000')->json->{records} }, 250,
       'all');

    my $page = get('l', undef, 'prefix=odd-&limit=1000&versions=1')->json;
    is(scalar keys %{ $page->{records} }, 125, 'by prefix');
    is_deeply($page->{records}{'odd-249'},
              { version => 1, fields => { n => 249 }, versions => { n => 1 } },
              'with versions');
    ok(!exists $page->{cursor}, 'no cursor at the end');

    $page = get('l', undef, 'limit=0')->json;
    is(keys(%{ $page->{records} }) . ' ' . !!$page->{cursor}, '1 1',
       'a page has at least one');
    is_deeply(get('l', undef, 'cursor=4294967296')->json->{records}, {},
              'a cursor beyond all');
    is_deeply(get('l', undef, 'prefix=none')->json->{records}, {}, 'none');
    is_deeply(get('nowhere')->json->{records}, {}, 'no channel, no records');

    patch('big', "r$_", { set => { t => 'x' x 60000 } }) for 1 .. 40;

    my $r = get('big');
    cmp_ok(length $r->{body}, '<', 1200000, 'a page ends at about 1 MB');
    cmp_ok(scalar keys %{ $r->json->{records} }, '>', 10, 'and has that');

    my $n = 0;
    $cursor = undef;

    do {
        $page = get('big', undef, $cursor ? "cursor=$cursor" : undef)->json;
        $n += keys %{ $page->{records} };
        $cursor = $page->{cursor};
    } while ($cursor);

    is($n, 40, 'all by pages');
};


subtest 'names' => sub {
    for my $id ('a%2Fb', '%E2%9C%93', 'a%20b', '%22q%22', '%25', 'x' x 128) {
        my $text = $id =~ s/%(..)/chr hex $1/ger;

        utf8::decode($text);
        is(patch('names%2F1', $id, { set => { "f$text" => 1 } })->{status},
           length $text < 128 ? 201 : 400, "PATCH $id")
            if length $text < 127;
        is(put('names%2F1', $id, { f => $text })->{status},
           length $text < 127 ? 200 : 201, "PUT $id");

        my $r = get('names%2F1', $id)->json;
        is($r->{record}, $text, 'its id');
        is($r->{fields}{f}, $text, 'its field');
    }

    for my $id ('x' x 129, '%01', 'a%0Ab', '%FF') {
        for my $method (qw( GET PUT PATCH DELETE )) {
            my $r = ask($method => url('a', $id),
                        $method =~ /^P/ ? {} : undef);

            refused($r, 400, 'bad_request',
                    qr/id of a record has 1 to 128 bytes/, "$method '$id'");
        }
    }

    refused(get('%01', 'r'), 400, 'bad_request', qr/channel/, 'a channel');
    refused(get('%01'), 400, 'bad_request', qr/channel/, 'of a page');
    refused(get('a', undef, 'prefix=%01'), 400, 'bad_request', qr/"prefix"/,
            'a prefix');
    is(ask(GET => url('a', 'r1/x'))->{status}, 404, 'no more words');
};


subtest 'wrong requests' => sub {
    my $deep = sub { '[' x $_[0] . ']' x $_[0] };

    my @wrong = (
        [ '', qr/body is empty/ ],
        [ '{', qr/body is not JSON/ ],
        [ '[]', qr/an object is needed/ ],
        [ '{"set":1}', qr/"set" is an object/ ],
        [ '{"append":[]}', qr/"append" is an object/ ],
        [ '{"append":{"a":1}}', qr/"append" are arrays with elements/ ],
        [ '{"append":{"a":[]}}', qr/"append" are arrays with elements/ ],
        [ '{"unset":{}}', qr/"unset" is an array of names/ ],
        [ '{"unset":[1]}', qr/"name of a field" is a string/ ],
        [ '{"unset":[""]}', qr/"name of a field" is a string/ ],
        [ '{"set":{"a\u0001":1}}', qr/"name of a field" is a string/ ],
        [ '{"set":{"\ud800":1}}', qr/"name of a field" is a string/ ],
        [ '{"set":{"' . 'x' x 129 . '":1}}', qr/"name of a field" is a string/ ],
        [ '{"set":{"a":1,"\u0061":2}}', qr/"a" is named twice/ ],
        [ '{"set":{"a":1},"unset":["a"]}', qr/"a" is named twice/ ],
        [ '{"set":{},"set":{}}', qr/set/ ],
        [ '{"data":1}', qr/"data" is not a member/ ],
        [ '{"fields":1}', qr/fields/ ],
        [ '{"set":{"a":' . $deep->(121) . '}}', qr/nests more than 120/ ],
    );

    for my $w (@wrong) {
        refused(patch('a', 'w', $w->[0]), 400, 'bad_request', $w->[1],
                'PATCH ' . substr $w->[0], 0, 40);
    }

    is(patch('a', 'deep', '{"set":{"a":' . $deep->(120) . '}}')->{status}, 201,
       'the deepest');
    is(put('a', 'deep', '{"a":' . $deep->(120) . '}')->{status}, 200, 'PUT, too');

    for my $w ([ '', qr/body is empty/ ], [ '[]', qr/the body is an object/ ],
               [ '{"a":1,"a":2}', qr/"a" is named twice/ ],
               [ '{"":1}', qr/"name of a field" is a string/ ],
               [ '{"a":' . $deep->(121) . '}', qr/nests more than 120/ ])
    {
        refused(put('a', 'w', $w->[0]), 400, 'bad_request', $w->[1],
                'PUT ' . substr $w->[0], 0, 40);
    }

    my %many = map { ("f$_" => $_) } 1 .. 129;

    for my $method (qw( PUT PATCH )) {
        my $r = ask($method => url('a', 'many'),
                    $method eq 'PUT' ? \%many : { set => \%many });

        refused($r, 400, 'too_many', qr/"fields" of 128/, "$method: 129 fields",
                { limit => 'fields', max => 128 });
    }

    delete $many{f1};
    is(put('a', 'many', \%many)->{status}, 201, '128 fields');
    refused(patch('a', 'many', { set => { f1 => 1 } }), 400, 'too_many',
            qr/"fields" of 128/, 'one more', { limit => 'fields', max => 128 });

    is(get('a', 'w')->{status}, 404, 'nothing was made');

    refused(ask($_->[0] => url('a', 'r1', $_->[1]),
                $_->[0] =~ /^P/ ? {} : undef), 400, 'bad_request',
            qr/no argument "\w+" here/, "$_->[0] ?$_->[1]")
        for [ GET => 'prefix=x' ], [ PATCH => 'versions=1' ],
            [ PUT => 'if=1' ], [ DELETE => 'mode=merge' ], [ PATCH => 'token=1' ];
    refused(get('a', undef, $_), 400, 'bad_request', qr/argument/, "?$_")
        for 'limit=x', 'cursor=x', 'versions=2', 'record=1', 'limit=1&limit=2';

    is(ask(POST => url('a', 'r1'), '{}')->{status}, 405, 'no POST');
    is(ask(POST => url('a'), '{}')->{headers}{allow}, 'GET, HEAD', 'what is');

    my $r = ask(PATCH => url('a', 'r1'), '{}', 'Content-Encoding' => 'gzip');
    is($r->{status}, 415, 'encoded');

    refused(patch('a', 'r1', {}, 'user=' . 'x' x 256), 400, 'bad_request',
            qr/"user"/, 'a user');
    refused(patch('a', 'r1', {}, 'key=' . 'x' x 129), 400, 'bad_request',
            qr/"key"/, 'a key');
};


subtest 'limits' => sub {
    refused(patch('few:1', 'r', { set => { a => 'x' x 100 } }), 413,
            'too_large', qr/"record" of 100/, 'bytes',
            { limit => 'record', max => 100 });
    refused(patch('few:1', 'r', { set => { map { ("f$_" => 1) } 1 .. 5 } }),
            400, 'too_many', qr/"fields" of 4/, 'fields',
            { limit => 'fields', max => 4 });
    is(patch('few:1', "r$_", { set => { a => 1 } })->{status}, 201, 'made')
        for 1 .. 3;
    refused(patch('few:1', 'r4', { set => { a => 1 } }), 400, 'too_many',
            qr/"records" of 3/, 'records', { limit => 'records', max => 3 });

    for my $method (qw( PUT PATCH )) {
        my $r = ask($method => '/short/channels/a/records/s',
                    $method eq 'PUT' ? { a => 'x' x 100 }
                    : { set => { a => 'x' x 100 } });
        refused($r, 413, 'too_large', qr/"message" of 100/,
                "$method: a body", { limit => 'message', max => 100 });
    }

    refused(patch('a', 'large', { set => { a => 'x' x 65000, b => 'x' x 600 } }),
            413, 'too_large', qr/of 65536/, 'the largest record');

    my $r;

    for my $n (1 .. 400) {
        $r = ask(PUT => "/tiny/channels/t/records/r$n", { a => 'x' x 200 });
        last if $r->{status} != 201;
    }

    refused($r, 507, 'zone_full', qr/full/, 'the share');
};


subtest 'no records here' => sub {
    refused($_->[1], 403, 'forbidden', qr/no records: "fanout_channel records="/,
            $_->[0])
        for [ PATCH => patch('off:1', 'r', {}) ],
            [ PUT => put('off:1', 'r', {}) ],
            [ DELETE => remove('off:1', 'r') ],
            [ GET => get('off:1', 'r') ],
            [ 'a page' => get('off:1') ];
};


subtest 'batch' => sub {
    my $r = ask(POST => '/zx/batch', [
        { op => 'set', channel => 'x', record => 'r', set => { a => 1, l => [] },
          user => 'ann', key => 'k' },
        { op => 'set', channel => 'x', record => 'r', set => { a => 1, l => [] },
          user => 'ann', key => 'k' },
        { op => 'set', channel => 'x', record => 'r', set => { a => 2 },
          append => { l => [ 1 ] }, unset => [ 'none' ] },
        { op => 'set', channel => 'x', record => 'r', base => 1,
          set => { a => 3, b => 1 } },
        { op => 'set', channel => 'x', record => 'r', base => 1,
          mode => 'reject', set => { a => 3 } },
        { op => 'get', channel => 'x', record => 'r', versions => \1 },
        { op => 'delete', channel => 'x', record => 'r', base => 2 },
        { op => 'delete', channel => 'x', record => 'r', base => 3 },
        { op => 'get', channel => 'x', record => 'r' },
        { op => 'get', channel => 'x', prefix => 'r' },
        { op => 'delete', channel => 'x', record => 'r' },
    ]);

    is($r->{status}, 200, 'done');
    is(etag($r), '', 'no ETag');

    my @r = @{ $r->json };
    my %all = %{ $r[0]{ok} };

    is(join(' ', map { join ' ', keys %$_ } @r),
       'ok ok ok ok error ok error ok ok ok error', 'each has its result');
    is_deeply([ @{ $r[0]{ok} }{qw( version created )} ],
              [ 1, Fanout::JSON::true() ], 'made');
    ok($r[1]{ok}{duplicate}, 'known');
    is($r[2]{ok}{version}, 2, 'changed');
    is_deeply($r[3]{ok}{rejected}, { a => { value => 2, version => 2 } },
              'in part');
    is($r[4]{error}{code}, 'conflict', 'refused');
    is_deeply($r[4]{error}{data}, { version => 3, rejected =>
              { a => { value => 2, version => 2 } } }, 'with what is there');
    is_deeply($r[5]{ok}{records}, { r => { version => 3,
              fields => { a => 2, l => [ 1 ], b => 1 },
              versions => { a => 2, l => 2, b => 3 } } }, 'read');
    is_deeply($r[6]{error}{data}, { version => 3 }, 'not this version');
    is($r[7]{ok}{version}, 4, 'deleted');
    is_deeply($r[$_]{ok}{records}, {}, 'gone') for 8, 9;
    is($r[10]{error}{code}, 'not_found', 'nothing to delete');

    my @wrong = (
        [ set => {}, qr/id of a record/ ],
        [ set => { record => '' }, qr/id of a record/ ],
        [ set => { record => 1 }, qr/"record" is not a string/ ],
        [ set => { record => 'r', base => 'x' }, qr/"base" is not a number/ ],
        [ set => { record => 'r', base => -1 }, qr/"base" is not a number/ ],
        [ set => { record => 'r', mode => 1 }, qr/"mode" is not a string/ ],
        [ set => { record => 'r', mode => 'x' }, qr/"mode" is "merge"/ ],
        [ set => { record => 'r', mode => 'merge' }, qr/"mode" needs "base"/ ],
        [ set => { record => 'r', set => [] }, qr/"set" is an object/ ],
        [ set => { record => 'r', prefix => 'x' }, qr/"prefix" is not a member of "set"/ ],
        [ delete => { record => 'r', mode => 'merge' }, qr/"mode" is not a member of "delete"/ ],
        [ delete => {}, qr/id of a record/ ],
        [ get => { record => '' }, qr/id of a record/ ],
        [ get => { record => 'r', prefix => 'x' }, qr/"record" excludes/ ],
        [ get => { cursor => 1 }, qr/"cursor" is not a string/ ],
        [ get => { cursor => 'x' }, qr/"cursor" is the string/ ],
        [ get => { versions => 1 }, qr/"versions" is not a boolean/ ],
    );

    $r = ask(POST => '/zx/batch', [
        map { { op => $_->[0], channel => 'x', %{ $_->[1] } } } @wrong ]);

    for my $i (0 .. $#wrong) {
        my $error = $r->json->[$i]{error};

        is($error->{code}, 'bad_request', "$wrong[$i][0]: code");
        like($error->{message}, $wrong[$i][2], 'message');
    }

    $r = ask(POST => '/fanout/batch', [
        { op => 'get', channel => 'off:1' },
        { op => 'set', channel => 'off:1', record => 'r' } ]);
    is(join(' ', map { $_->{error}{code} } @{ $r->json }), 'forbidden forbidden',
       'no records here');

    is(make('y', 200, { n => 1 }), 200, 'many');

    my ($page, $next) = map { $_->{ok} } @{ ask(POST => '/fanout/batch', [
        { op => 'get', channel => 'y' },
        { op => 'get', channel => 'y', cursor => '100' } ])->json };
    is(scalar keys %{ $page->{records} }, 100, 'a page');
    is($page->{cursor}, '100', 'and how to go on');
    is(scalar keys %{ $next->{records} }, 100, 'the rest');
};


subtest 'what subscribers see' => sub {
    my $c = $nginx->native;

    $c->ok('join', channel => 'seen');
    patch('seen', 'r', { set => { a => 1 } }, 'user=bob');
    remove('seen', 'r');

    my ($set, $delete) = map { $c->next_where(sub { $_[0]{record} }) } 1, 2;

    is_deeply([ @$set{qw( record set )} ], [ 'r', { a => 1 } ], 'set');
    is($set->{from}{user}, 'bob', 'by whom');
    is_deeply([ @$delete{qw( record version deleted )} ],
              [ 'r', $set->{version} + 1, Fanout::JSON::true() ], 'deleted');

    # the same errors, by either way

    my $reply = $c->cmd('set', channel => 'seen', record => 'r',
                            set => { a => 1 }, unset => [ 'a' ]);
    like($reply->{error}{message}, qr/"a" is named twice/, 'the same errors');
};


subtest 'purge' => sub {
    make('z', 400, { map { ("f$_" => 1) } 1 .. 20 });

    my $before = get('z', 'r1')->json;

    is(ask(DELETE => '/fanout/channels/z')->{status}, 200, 'history only');
    is_deeply(get('z', 'r1')->json->{fields}, $before->{fields}, 'records stay');

    refused(ask(DELETE => '/fanout/channels/z?records=2'), 400, 'bad_request',
            qr/"records" is not 0 or 1/, 'no flag');
    refused(ask(DELETE => '/fanout/channels/z?records=1&reason=%0A'), 400,
            'bad_request', qr/"reason"/, 'no reason');
    is(get('z', 'r1')->{status}, 200, 'nothing was done');

    my $c = $nginx->native;
    $c->ok('join', channel => 'z');

    my $r = ask(DELETE => '/fanout/channels/z?records=1&reason=all');
    is($r->{status}, 200, 'both');
    isnt($r->json->{epoch}, $before->{epoch}, 'a new epoch');
    is_deeply(get('z')->json->{records}, {}, 'no record is left');
    is($c->next_where(sub { $_[0]{reset} })->{reset}{reason}, 'all', 'subscribers are told');

    $r = patch('z', 'r1', { set => { a => 1 } });
    cmp_ok($r->json->{version}, '>', $before->{version}, 'versions go on');

    is(ask(DELETE => '/fanout/channels/nowhere?records=1')->{status}, 404,
       'no channel');
};


subtest 'history' => sub {
    my $of = '/fanout/channels/h/messages?record=r';
    my $read = sub { ask(GET => $of . ($_[0] // '')) };

    is($read->()->{status}, 404, 'no channel');

    for (1 .. 5) {
        patch('h', 'r', { set => { a => $_ } }, 'user=ann');
        patch('h', 'other', { set => { a => $_ } });
    }

    my $r = $read->();
    is($r->{status}, 200, 'its changes');
    is_deeply([ map { $_->{offset} } @{ $r->json->{messages} } ],
              [ 9, 7, 5, 3, 1 ], 'newest first');
    is_deeply($r->json->{messages}[0]{set}, { a => 5 }, 'what was set');
    is($r->json->{messages}[0]{from}{user}, 'ann', 'and by whom');
    is($r->json->{offset}, 10, 'the position of the channel');

    my @pages;
    my $next = '';

    for (1 .. 9) {
        my $page = $read->("&limit=2$next")->json;
        push @pages, join ',', map { $_->{offset} } @{ $page->{messages} };
        last if !$page->{next};
        $next = "&before=$page->{next}";
    }

    is("@pages", '9,7 5,3 1', 'in pages');

    is($read->('&since=' . $r->json->{epoch} . ':1')->{status}, 400,
       'not with since');
    is(ask(GET => '/fanout/channels/h/messages?record=' . 'x' x 129)->{status},
       400, 'an id that is too long');
    is(ask(GET => '/fanout/channels/off:1/messages?record=r')->{status}, 403,
       'a channel without records');

    remove('h', 'r');
    is($read->('&limit=1')->json->{messages}[0]{deleted}, Fanout::JSON::true,
       'of a record that is deleted');

    my $batch = ask(POST => '/fanout/batch',
                    [ { op => 'history', channel => 'h', record => 'r', limit => 1 },
                      { op => 'history', channel => 'h', record => '' } ])->json;
    is($batch->[0]{ok}{messages}[0]{offset}, 11, 'in a batch');
    is($batch->[1]{error}{code}, 'bad_request', 'no id');
};


# Pages end: of one record among many, of none, of large ones.

subtest 'bounds of a history' => sub {
    for my $i (1 .. 20) {
        ask(POST => '/fanout/batch',
            [ map { { op => 'set', channel => 'many', record => 'r' . ($_ % 7),
                      set => { a => "$i $_" } } } 1 .. 49 ]);
    }

    my $url = '/fanout/channels/many/messages?limit=1000&record=';
    is(scalar @{ ask(GET => $url . 'r3')->json->{messages} }, 140,
       'one among others');
    is_deeply(ask(GET => $url . 'none')->json->{messages}, [], 'none');

    for my $i (1 .. 30) {
        patch('fat', 'r', { set => { a => $i % 10 x 60_000 } });
    }

    my ($n, $pages, $next) = (0, 0, '');

    for (1 .. 9) {
        my $r = ask(GET => "/fanout/channels/fat/messages?record=r$next");
        cmp_ok(length $r->{body}, '<', 1_300_000, 'a page of about 1 MB');
        $n += @{ $r->json->{messages} };
        $pages++;
        last if !$r->json->{next};
        $next = '&before=' . $r->json->{next};
    }

    is("$n in $pages", '30 in 2', 'all in two pages');
};


subtest 'cleanup' => sub {
    my $r = ask(POST => '/fanout/cleanup');

    is($r->{status}, 200, 'done');
    is_deeply([ sort keys %{ $r->json } ], [ 'locks', 'messages', 'records' ], 'counts');
    is(ask(GET => '/fanout/cleanup')->{status}, 405, 'POST only');
    is(ask(POST => '/fanout/cleanup?x=1')->{status}, 400, 'no argument');

    patch('brief:1', "r$_", { set => { a => $_ } }) for 1 .. 20;

    my ($n, $left) = (0, 20);

    for (1 .. 100) {
        $n += ask(POST => '/fanout/cleanup')->json->{records};
        $left = keys %{ get('brief:1')->json->{records} };
        last if !$left;
        select undef, undef, undef, 0.1;
    }

    is($left, 0, 'records expire');
    cmp_ok($n, '<=', 20, 'those that it found are counted');
};
