#!/usr/bin/env perl

# Records in the native protocol: set, delete, get, and what others are told.
# If this fails, a change is lost in silence, somebody's state differs from the
# server's, or a reader gets what it may not have.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app plain:*;
        fanout_channel app old:* history=100 records=old;
        fanout_channel app full:* history=100 records=full;
        fanout_channel app tight:* records=on fields=3 record=100
                       records_max=2;
        fanout_channel app late:* history=2 records=on presence=on batch=1s;
        fanout_channel app brief:* history=10 records=on records_ttl=1s;
        fanout_channel app * history=1000 records=on;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
        }
        location /reader { fanout app; fanout_permit join *; }
        location /writer { fanout app; fanout_permit record *; }
        location /small {
            fanout app;
            fanout_permit all *;
            fanout_buffer 32k;
        }
        location /api/ { fanout_api app; }
        location /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $ann = $nginx->native(worker => $one, path => '/realtime?user=ann');
my $bob = $nginx->native(worker => $two, path => '/realtime?user=bob');

sub code { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

# what is told on a channel next

sub told {
    my ($ws, $channel) = @_;

    return $ws->next_where(sub { ($_[0]{channel} || '') eq $channel });
}

sub fields {
    my ($ws, $channel, $id) = @_;

    my $record = $ws->ok('get', channel => $channel, record => $id)
        ->{records}{$id};

    return $record && $record->{fields};
}


subtest 'conflicts' => sub {
    $ann->ok('set', channel => 'c', record => 'r', set => { a => 1, b => 1 });
    $bob->ok('set', channel => 'c', record => 'r', base => 1,
             set => { a => 2 });

    my $ok = $ann->ok('set', channel => 'c', record => 'r', base => 1,
                      set => { a => 3, b => 3 });
    is_deeply($ok->{rejected},
              { a => { value => 2, version => 2, user => 'bob' } },
              'what is in conflict is told');
    ok($ok->{partial}, 'it is partial');
    is_deeply(fields($bob, 'c', 'r'), { a => 2, b => 3 }, 'the rest is done');

    my $error = $ann->cmd('set', channel => 'c', record => 'r', base => 1,
                          set => { a => 9 })->{error};
    is($error->{code}, 'conflict', 'all in conflict');
    is_deeply($error->{data}, { version => 3, rejected =>
              { a => { value => 2, version => 2, user => 'bob' } } },
              'with the state');

    $error = $ann->cmd('set', channel => 'c', record => 'r', base => 2,
                       mode => 'reject', set => { b => 9, z => 1 })->{error};
    is($error->{code}, 'conflict', 'reject');
    is_deeply(fields($bob, 'c', 'r'), { a => 2, b => 3 }, 'applies nothing');

    is_deeply($ann->cmd('set', channel => 'c', record => 'r', base => 99,
                        set => { a => 1 })->{error}{data},
              { version => 3, unknown => Fanout::JSON::true },
              'a base from the future');
    is_deeply($ann->cmd('set', channel => 'c', record => 'gone', base => 5,
                        set => { a => 1 })->{error}{data},
              { version => 0, deleted => Fanout::JSON::true },
              'a base of what is not there');
    is($ann->ok('set', channel => 'c', record => 'r', mode => 'overwrite',
                base => 1, set => { a => 9 })->{version}, 4, 'overwrite');
    $ok = $ann->ok('set', channel => 'c', record => 'r', base => 4,
                   append => { a => [1] }, set => { n => 1 });
    is_deeply($ok->{rejected}{a}, { value => 9, version => 4, user => 'ann',
                                    reason => 'not_array' }, 'no array');

    is(code($ann->cmd('delete', channel => 'c', record => 'r', base => 4)),
       'conflict', 'a delete of an older version');
    $ann->ok('delete', channel => 'c', record => 'r', base => 5);
};


subtest 'create' => sub {
    my @booking = (channel => 'booking', record => 's1', create => \1);

    my $made = $ann->ok('set', @booking, set => { from => 9 });

    my $again = $bob->cmd('set', @booking, set => { from => 9 });

    is(code($again), 'conflict', 'nobody else, also not with the same values');
    is($again->{error}{data}{version}, $made->{version},
       'the version is told');
    is(code($bob->cmd('set', @booking, set => { to => 10 })), 'conflict',
       'or others');
    is(code($bob->cmd('set', @booking, create => \0, set => { to => 10 })),
       'ok', 'unless it is false');
};


subtest 'keys' => sub {
    my %set = (channel => 'k', record => 'r', set => { a => 1 }, key => 'x');

    my $ok = $ann->ok('set', %set);
    my $again = $ann->ok('set', %set);
    ok($again->{duplicate}, 'a duplicate');
    is_deeply([ @$again{qw(version offset epoch)} ],
              [ @$ok{qw(version offset epoch)} ], 'has the first answer');
    ok(!$bob->ok('set', %set, set => { a => 2 })->{duplicate},
       'keys belong to a user');
    is($ann->ok('publish', channel => 'k', data => 1, key => 'x')->{duplicate},
       undef, 'and not to messages');
};


subtest 'joins' => sub {
    my %version = map { ("r$_" => $ann->ok('set', channel => 'j',
                                           record => "r$_", set => { n => $_ })
                                  ->{version}) } 1 .. 5;

    my $ok = $bob->ok('join', channel => 'j');
    is_deeply($ok->{records},
              { map { ("r$_" => { version => $version{"r$_"},
                                  fields => { n => $_ } }) } 1 .. 5 }, 'a join tells the records');
    is($ok->{offset}, 5, 'at its offset');

    my $other = $nginx->native(worker => $one);
    $ok = $other->ok('join', channel => 'j', want => ['messages']);
    ok(!exists $ok->{records}, 'unless it wants none');

    $ann->ok('set', channel => 'j', record => 'r6', set => { n => 6 });
    $ann->ok('publish', channel => 'j', data => 'after');
    is(told($bob, 'j')->{record}, 'r6', 'who wants records gets them');
    is(told($bob, 'j')->{data}, 'after', 'in order');
    is(told($other, 'j')->{data}, 'after', 'others do not');

    my $epoch = $ok->{epoch};
    my $late = $nginx->native(worker => $two);
    $ok = $late->ok('join', channel => 'j',
                    since => { epoch => $epoch, offset => 5 });
    ok($ok->{recovered}, 'a join from a position');
    is_deeply([ map { $_->{record} || $_->{data} } @{ $ok->{messages} } ],
              [ 'r6', 'after' ], 'recovers changes');
    ok(!exists $ok->{records}, 'and needs no state');

    $late->ok('leave', channel => 'j');
    $ok = $late->ok('join', channel => 'j', want => ['messages'],
                    since => { epoch => $epoch, offset => 5 });
    is_deeply([ map { $_->{data} } @{ $ok->{messages} } ], ['after'],
              'only what is wanted');

    $ok = $late->ok('join', channel => 'j',
                    since => { epoch => 'AAAAAAAAAAA', offset => 5 });
    ok(!$ok->{recovered}, 'a position that is lost');
    is(scalar keys %{ $ok->{records} }, 6, 'gets the state');

    is(code($ann->cmd('join', channel => 'plain:x', want => ['records'])),
       'forbidden', 'a channel that has none');
    is($ann->ok('join', channel => 'plain:x')->{records}, undef,
       'has none by default');
    $ann->ok('leave', channel => 'plain:x');
    $_->disconnect for $other, $late;
    $bob->ok('leave', channel => 'j');
};


subtest 'many records' => sub {
    my $text = 'x' x 500;

    for my $i (0 .. 299) {
        $ann->send_json({ op => 'set', channel => 'many',
                          record => sprintf('%s-%03d', $i % 2 ? 'odd' : 'even',
                                            $i),
                          set => { n => $i, text => $text } });
    }
    $ann->cmd('ping');

    my %all;
    my $cursor;
    my $pages = 0;

    do {
        my $ok = $bob->ok('get', channel => 'many', ($cursor
                          ? (cursor => $cursor) : ()));
        $all{$_} = $ok->{records}{$_} for keys %{ $ok->{records} };
        $cursor = $ok->{cursor};
        $pages++;
    } while ($cursor);

    is(scalar keys %all, 300, 'all are read');
    ok($pages > 5, "in $pages pages");

    my %odd;
    undef $cursor;

    do {
        my $ok = $bob->ok('get', channel => 'many', prefix => 'odd-', ($cursor
                          ? (cursor => $cursor) : ()));
        $odd{$_} = 1 for keys %{ $ok->{records} };
        $cursor = $ok->{cursor};
    } while ($cursor);

    is_deeply([ sort keys %odd ], [ grep { /^odd/ } sort keys %all ],
              'by prefix');

    my $reply = $bob->cmd('join', channel => 'many');
    my $parts = $reply->{part} || [];
    my %joined = map { %{ $_->{records} } } @$parts, $reply->{ok};
    ok(@$parts > 1, scalar(@$parts) . ' parts of a join');
    is_deeply(\%joined, \%all, 'have all records');
    $bob->ok('leave', channel => 'many');
};


subtest 'entries' => sub {
    for my $kind ('old', 'full') {
        my $channel = "$kind:x";

        $bob->ok('join', channel => $channel);
        $ann->ok('set', channel => $channel, record => 'r',
                 set => { a => 1, b => 2 });
        $ann->ok('set', channel => $channel, record => 'r', set => { a => 5 },
                 unset => ['b'], append => { l => [1] });
        told($bob, $channel);
        my $told = told($bob, $channel);
        is_deeply($told->{old}, { a => 1, b => 2 }, "$kind: what was before");
        is_deeply($told->{full}, $kind eq 'full' ? { a => 5, l => [1] } : undef,
                  "$kind: the whole");
        $ann->ok('delete', channel => $channel, record => 'r');
        $told = told($bob, $channel);
        is_deeply($told->{old}, { a => 5, l => [1] }, "$kind: what is gone");
        $bob->ok('leave', channel => $channel);
    }

    my $messages = $ann->ok('history', channel => 'old:x')->{messages};
    is(scalar(@$messages), 3,
              'they are in the history');

    $bob->ok('join', channel => 'brief:x');
    $ann->ok('set', channel => 'brief:x', record => 'r', set => { a => 1 });
    told($bob, 'brief:x');
    my $told = told($bob, 'brief:x');
    ok($told->{deleted} && $told->{expired}, 'a record expires');
    $bob->ok('leave', channel => 'brief:x');
};


# offsets and versions of what a page of history has

sub versions { join ' ', map { "$_->{offset}:$_->{version}" } @{ $_[0]{messages} } }

subtest 'the history of a record' => sub {
    my @of = (channel => 'h', record => 'r');

    is_deeply($ann->ok('history', @of)->{messages}, [], 'of no channel');

    my $v = $ann->ok('set', @of, set => { a => 0 })->{version} - 1;

    $ann->ok('publish', channel => 'h', data => 1);
    $ann->ok('set', channel => 'h', record => 'other', set => { a => 1 });
    $ann->ok('set', @of, set => { a => $_ }) for 1 .. 3;
    $ann->ok('delete', @of);

    my $all = join ' ', map { "$_->[0]:" . ($v + $_->[1]) }
                        [ 7, 5 ], [ 6, 4 ], [ 5, 3 ], [ 4, 2 ], [ 1, 1 ];
    my $ok = $ann->ok('history', @of);

    is(versions($ok), $all, 'its changes, newest first');
    is($ok->{messages}[0]{deleted}, Fanout::JSON::true, 'a delete too');
    is_deeply($ok->{messages}[1]{set}, { a => 3 }, 'and what was set');
    ok(!exists $ok->{next} && $ok->{offset} == 7 && $ok->{epoch},
       'that is all, with the position');

    my @pages;
    my $next = 0;

    do {
        $ok = $ann->ok('history', @of, limit => 2, $next ? (before => $next) : ());
        push @pages, versions($ok);
        $next = $ok->{next};
    } while $next && @pages < 9;

    is(join(' ', @pages), $all, 'in pages');
    is(scalar @pages, 3, 'of two');
    is(versions($ann->ok('history', @of, before => 6)),
       $all =~ s/^7\S+ 6\S+ //r, 'below an offset');
    is_deeply($ann->ok('history', @of, limit => 0)->{messages}, [], 'none');
    is_deeply($ann->ok('history', @of[0, 1], record => 'x')->{messages}, [],
              'of one that never was');

    is(code($ann->cmd('history', @of, since => { epoch => $ok->{epoch},
                                                 offset => 0 })),
       'bad_request', 'not with since');
    is(code($ann->cmd('history', @of[0, 1], record => $_)), 'bad_request',
       'no id') for '', 'x' x 129, "a\n", 5;
    is(code($ann->cmd('history', channel => 'plain:x', record => 'r')),
       'forbidden', 'a channel without records');

    for my $path ('/reader', '/writer') {
        my $c = $nginx->native(path => $path);
        is(code($c->cmd('history', @of)), 'forbidden',
           "$path: needs the permission history");
        $c->disconnect;
    }

    $ann->ok('set', channel => 'h', record => 'big', set => { a => $_ x 20_000 })
        for 1 .. 8;

    my $reply = $bob->cmd('history', channel => 'h', record => 'big');
    my @parts = map { @{ $_->{messages} } } @{ $reply->{part} };
    ok(@parts > 1, 'large ones come in parts');
    is(join('', map { substr($_->{set}{a}, 0, 1) } @parts,
                @{ $reply->{ok}{messages} }), '87654321', 'all of them');
};


subtest 'a life' => sub {
    $bob->ok('join', channel => 't');

    my $ok = $ann->ok('set', channel => 't', record => 'r',
                      set => { a => 1, b => 'x' });
    my $first = $ok->{version};
    is($ok->{offset}, 1, 'the first entry');

    my $told = told($bob, 't');
    is_deeply([ @$told{qw(record version created offset)} ],
              [ 'r', $first, Fanout::JSON::true, 1 ], 'others are told');
    is_deeply($told->{set}, { a => 1, b => 'x' }, 'with the fields');
    is($told->{from}{user}, 'ann', 'and by whom');

    $ok = $bob->ok('set', channel => 't', record => 'r', base => $first,
                   set => { a => 2 }, unset => ['b'],
                   append => { l => [ 1, 2 ] });
    is($ok->{version}, $first + 1, 'the next version');
    $told = told($bob, 't');
    is_deeply([ @$told{qw(set unset append)} ],
              [ { a => 2 }, ['b'], { l => [ 1, 2 ] } ], 'told as it was said');
    ok(!exists $told->{created}, 'it was there');

    is_deeply(fields($ann, 't', 'r'), { a => 2, l => [ 1, 2 ] },
              'the record is like that');

    $ok = $ann->ok('set', channel => 't', record => 'r', set => { a => 2 });
    ok($ok->{unchanged}, 'nothing to do');
    is($ok->{version}, $first + 1, 'no new version');

    $ok = $ann->ok('get', channel => 't', record => 'r', versions => \1);
    is_deeply($ok->{records}{r}{versions}, { a => $first + 1, l => $first + 1 },
              'versions of the fields');
    is_deeply($ann->ok('get', channel => 't', record => 'none')->{records}, {},
              'a record that is not there');

    $ok = $ann->ok('delete', channel => 't', record => 'r');
    is($ok->{version}, $first + 2, 'a delete is a version');
    $told = told($bob, 't');
    ok($told->{deleted}, 'which is told');
    is(code($ann->cmd('delete', channel => 't', record => 'r')), 'not_found',
       'once');
    is($ann->ok('set', channel => 't', record => 'r', set => {})->{version},
       $first + 3, 'versions go on');
    told($bob, 't');
    $bob->ok('leave', channel => 't');
};


subtest 'purge' => sub {
    my $base = $ann->ok('set', channel => 'p', record => 'r',
                        set => { a => 1 })->{version};
    $bob->ok('join', channel => 'p');
    is($nginx->http->delete('/api/channels/p')->{status}, 200,
       'a purge');
    ok(told($bob, 'p')->{reset}, 'is told');
    is_deeply(fields($bob, 'p', 'r'), { a => 1 }, 'records stay');
    is($ann->ok('set', channel => 'p', record => 'r', base => $base,
                set => { a => 2 })->{version}, $base + 1, 'and versions');
    $bob->ok('leave', channel => 'p');
};


subtest 'bad input' => sub {
    my $long = 'n' x 129;
    my %many = map { ("f$_" => 1) } 1 .. 129;

    my @cases = (
        [ 'no record'          => {}, qr/"record" is missing/ ],
        [ 'an empty record'    => { record => '' }, qr/"record" is a string/ ],
        [ 'a number'           => { record => 5 }, qr/"record" is a string/ ],
        [ 'a long id'          => { record => $long }, qr/1 to 128 bytes/ ],
        [ 'set is no object'   => { record => 'r', set => [1] },
                                  qr/"set" is an object/ ],
        [ 'unset is no array'  => { record => 'r', unset => { a => 1 } },
                                  qr/"unset" is an array/ ],
        [ 'unset of a number'  => { record => 'r', unset => [1] },
                                  qr/name of a field/ ],
        [ 'append is no object' => { record => 'r', append => [1] },
                                  qr/"append" is an object/ ],
        [ 'append of a number' => { record => 'r', append => { a => 1 } },
                                  qr/arrays with elements/ ],
        [ 'append of nothing'  => { record => 'r', append => { a => [] } },
                                  qr/arrays with elements/ ],
        [ 'a long name'        => { record => 'r', set => { $long => 1 } },
                                  qr/name of a field/ ],
        [ 'an empty name'      => { record => 'r', set => { '' => 1 } },
                                  qr/name of a field/ ],
        [ 'a field twice'      => { record => 'r', set => { a => 1 },
                                    unset => ['a'] }, qr/"a" is named twice/ ],
        [ 'a mode'             => { record => 'r', mode => 'x', base => 1 },
                                  qr/"merge", "reject" or "overwrite"/ ],
        [ 'a mode without base' => { record => 'r', mode => 'merge' },
                                  qr/"mode" needs "base"/ ],
        [ 'a base'             => { record => 'r', base => -1 },
                                  qr/"base" is a number/ ],
        [ 'an unknown member'  => { record => 'r', sett => {} }, qr/sett/ ],
        [ 'of others'          => { record => 'r', data => 1 },
                                  qr/"data" is not a member of "set"/ ],
    );

    for my $case (@cases) {
        my ($name, $members, $text) = @$case;
        my $error = $ann->cmd('set', channel => 'bad', %$members)->{error};

        is($error->{code}, 'bad_request', $name);
        like($error->{message}, $text, 'says why');
    }

    my $error = $ann->cmd('set', channel => 'bad', record => 'r',
                          set => \%many)->{error};
    is($error->{code}, 'too_many', '129 fields');
    is_deeply($error->{data}, { limit => 'fields', max => 128 }, 'the limit');

    $error = $ann->cmd('set', channel => 'bad', record => 'r',
                       set => { a => 'x' x 65536 })->{error};
    is($error->{code}, 'too_large', 'a large field');
    is_deeply($error->{data}, { limit => 'record', max => 65536 }, 'the limit');

    $ann->ok('set', channel => 'tight:x', record => 'r',
             set => { a => 1, b => 1, c => 1 });
    is_deeply($ann->cmd('set', channel => 'tight:x', record => 'r',
                        set => { d => 1 })->{error}{data},
              { limit => 'fields', max => 3 }, 'fields=');
    is_deeply($ann->cmd('set', channel => 'tight:x', record => 'r',
                        set => { a => 'x' x 100 })->{error}{data},
              { limit => 'record', max => 100 }, 'record=');
    $ann->ok('set', channel => 'tight:x', record => 'q', set => {});
    is_deeply($ann->cmd('set', channel => 'tight:x', record => 'p',
                        set => {})->{error}{data},
              { limit => 'records', max => 2 }, 'records_max=');

    for my $members ({ record => 'r', prefix => 'x' },
                     { record => 'r', cursor => '5' }, { cursor => 'x' },
                     { cursor => 5 }, { prefix => '' }, { versions => 1 })
    {
        is(code($ann->cmd('get', channel => 'c', %$members)), 'bad_request',
           'get: ' . join(' ', %$members));
    }

    my $reader = $nginx->native(worker => $one, path => '/reader');

    is(code($reader->cmd('set', channel => 't', record => 'r', set => {})),
       'forbidden', 'a reader may not set');
    is(code($reader->cmd('delete', channel => 't', record => 'r')),
       'forbidden', 'nor delete');
    ok($reader->ok('get', channel => 't')->{records}, 'but read');
    is(code($ann->cmd($_->[0], channel => 'plain:x', @{ $_->[1] })),
       'forbidden', "$_->[0] where there are none")
        for [ set => [ record => 'r', set => {} ] ],
            [ delete => [ record => 'r' ] ], [ get => [] ];
    $reader->disconnect;
};


subtest 'post' => sub {
    my $http = $nginx->http;
    my $send = sub {
        Fanout::JSON::decode($http->post('/realtime',
            Fanout::JSON::encode($_[0]),
            headers => { 'Content-Type' => 'application/json' })->{body});
    };

    ok($send->({ op => 'set', id => 1, channel => 'post', record => 'r',
                 set => { a => 1 } })->{ok}{version}, 'a set by POST');
    is_deeply($send->({ op => 'get', id => 1, channel => 'post' })
              ->{ok}{records}{r}{fields}, { a => 1 }, 'a get by POST');
};


subtest 'all' => sub {
    my $reply = $ann->cmd('get', channel => 'many', all => \1);
    my %all = map { %{ $_->{records} } } @{ $reply->{part} }, $reply->{ok};

    is(scalar keys %all, 300, 'all records of a channel in parts');
    is(code($ann->cmd('get', channel => 'many', all => \1, record => 'r')),
       'bad_request', 'all and one');
};


subtest 'streams' => sub {
    $ann->ok('set', channel => 's', record => 'r', set => { a => 1 });

    for my $kind ('', '&poll=1') {
        my $http = $nginx->http(worker => $two);
        my $join = Fanout::JSON::encode({ channel => 's',
                                          want => ['records'] });
        $join =~ s/([^\w])/sprintf('%%%02X', ord $1)/ge;

        my @got;

        if ($kind) {
            @got = map { ref $_ eq 'ARRAY' ? @$_ : $_ } @{
                Fanout::JSON::decode($http->get("/realtime?join=$join$kind")
                                     ->{body}) };

        } else {
            $http->start(GET => "/realtime?join=$join",
                         headers => { Accept => 'text/event-stream' });

            while (my $event = $http->next_event) {
                push @got, map { ref $_ eq 'ARRAY' ? @$_ : $_ }
                           Fanout::JSON::decode($event->{data});
                last if $got[-1]{ok} && $got[-1]{ok}{records};
            }
        }

        my ($state) = grep { $_->{ok} && $_->{ok}{records} } @got;
        is_deeply($state->{ok}{records}{r}{fields}, { a => $kind ? 3 : 1 },
                  ($kind || 'events') . ': the state');

        next if $kind;

        $ann->ok('set', channel => 's', record => 'r', set => { a => 2 });
        $ann->ok('publish', channel => 's', data => 'not wanted');
        $ann->ok('set', channel => 's', record => 'r', set => { a => 3 });

        is_deeply(Fanout::JSON::decode($http->next_event->{data})->{set},
                  { a => $_ }, "events: change $_") for 2, 3;
        $http->disconnect;
    }
};


subtest 'who may not read' => sub {
    my $writer = $nginx->native(worker => $one, path => '/writer');

    $ann->ok('set', channel => 'w', record => 'r', set => { a => 'secret' });
    ok($writer->ok('set', channel => 'w', record => 'r', set => { b => 1 })
       ->{version}, 'may write');
    is(code($writer->cmd('set', channel => 'w', record => 'r', base => 0,
                         set => { a => 1 })), 'forbidden', 'with no base');
    is(code($writer->cmd('delete', channel => 'w', record => 'r', base => 1)),
       'forbidden', 'also of a delete');
    is(code($writer->cmd('get', channel => 'w')), 'forbidden', 'may not get');

    my $error = $writer->cmd('set', channel => 'w', record => 'r',
                             append => { a => [1] })->{error};
    is($error->{code}, 'conflict', 'an append to no array');
    ok(!exists $error->{data}{rejected}, 'does not tell what it is');
    my $ok = $writer->ok('set', channel => 'w', record => 'r', set => { c => 1 },
                         append => { a => [1] });
    ok($ok->{partial} && !$ok->{rejected}, 'nor beside what is applied');
    $writer->disconnect;
};


subtest 'a large state' => sub {
    my $join = Fanout::JSON::encode({ channel => 'many', want => ['records'] });
    $join =~ s/([^\w])/sprintf('%%%02X', ord $1)/ge;

    my @got = map { ref $_ eq 'ARRAY' ? @$_ : $_ } @{
        $nginx->http->get("/small?poll=1&join=$join")->json };
    my ($error) = map { $_->{error} || () } @got;

    is($error->{code}, 'too_large', 'is no answer of a poll');
    is_deeply($error->{data}, { limit => 'buffer', max => 32768 }, 'beyond');

    my $slow = $nginx->native(worker => $two, path => '/small');
    my $reply = $slow->cmd('join', channel => 'many');
    my %all = map { %{ $_->{records} } } @{ $reply->{part} }, $reply->{ok};
    is(scalar keys %all, 300, 'but comes to a WebSocket in parts');
    $slow->disconnect;
};


# The place of a join is taken when its members are known: what was in the
# history when it came may be gone.

subtest 'a history that goes while a join waits' => sub {
    my $epoch = $ann->ok('set', channel => 'late:x', record => 'r',
                         set => { a => 1 })->{epoch};
    my $late = $nginx->native(worker => $two, path => '/realtime?user=late');

    # after this change the next ones wait for batch=
    $ann->ok('join', channel => 'late:x', presence => {});

    my $id = $late->send_cmd('join', channel => 'late:x', presence => {},
                             since => { epoch => $epoch, offset => 1 });

    select undef, undef, undef, 0.2;
    $ann->ok('publish', channel => 'late:x', data => $_) for 1 .. 6;

    my $ok = $late->reply($id)->{ok};
    ok(!$ok->{recovered}, 'what was missed is lost');
    is_deeply($ok->{records}{r}{fields}, { a => 1 }, 'so the state is told');
    $late->disconnect;
};
