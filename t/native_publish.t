#!/usr/bin/env perl

# publish of the native protocol. If this fails, messages arrive changed or
# twice, a retry after a lost connection repeats what was done, half of what
# belongs together is published, or a condition is passed that does not hold.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw( encode_base64 );

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app none:*;
        fanout_channel app * history=1000;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $http_x_user;
            fanout_permit all *;
        }
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit all *;
        }
        location /limits {
            fanout app;
            fanout_permit all *;
            fanout_message_size 1000;
            fanout_batch 4;
        }
        location /hear { fanout app; fanout_permit join,history *; }
        location /api/ { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my ($true, $false) = (Fanout::JSON::true, Fanout::JSON::false);

sub client {
    my ($worker, $user, %o) = @_;

    return $nginx->native(worker => $worker, %o,
                          $user ? (headers => { 'X-User' => $user }) : ());
}

sub code { $_[0]{error} ? $_[0]{error}{code} : 'no error' }
sub short { substr Fanout::JSON::encode($_[0]), 0, 40 }

my ($ann, $bob) = (client($one, 'ann'), client($two, 'bob'));

sub data_of {
    my ($channel) = @_;

    return [ map { $_->{data} }
             @{ $ann->ok('history', channel => $channel)->{messages} } ];
}


subtest 'what arrives' => sub {
    $_->ok('join', channel => 'all') for $ann, $bob;

    my $ok = $bob->ok('publish', channel => 'all', event => 'msg',
                      data => { b => 1, a => [ undef ] }, key => 'k1',
                      meta => { trace => 'x' });

    is_deeply([ sort keys %$ok ], [qw( epoch offset time )], 'the reply');
    is($ok->{offset}, 1, 'its offset');
    cmp_ok(abs($ok->{time} / 1000 - time), '<', 60, 'its time');

    for my $ws ($ann, $bob) {
        is_deeply($ws->next_push, {
            channel => 'all', offset => 1, time => $ok->{time}, event => 'msg',
            data => { b => 1, a => [ undef ] }, key => 'k1',
            meta => { trace => 'x' },
            from => { client => $bob->client, user => 'bob' },
        }, 'a message with all there can be');
    }

    my $nobody = client($one);
    $ok = $nobody->ok('publish', channel => 'all', data => 0);
    is($ok->{offset}, 2, 'the next offset');

    is_deeply($_->next_push, {
        channel => 'all', offset => 2, time => $ok->{time}, data => 0,
        from => { client => $nobody->client },
    }, 'the least there can be') for $ann, $bob;

    is_deeply([ map { $_->{key} } @{ $ann->ok('history', channel => 'all')
                                     ->{messages} } ], [ 'k1', undef ],
              'the key is kept');
};


subtest 'data is passed through' => sub {
    $_->ok('join', channel => 'data') for $ann, $bob;

    my %minified = (
        '{ "b" : 1 , "a" : [ 1 , 2 ] }' => '{"b":1,"a":[1,2]}',
        "[\t1,\n2\r]"                   => '[1,2]',
        ' "  kept  " '                  => '"  kept  "',
        '{"a":1,"a":2}'                 => '{"a":1,"a":2}',
    );

    my @same = (
        'null', 'true', 'false', '0', '-0', '1.0', '1e400', '-1.5E+3',
        '123456789012345678901234567890', '""', '"\u0041\n\/\u0000"',
        '"\ud83d\ude00"', "\"\xe2\x80\xa8\"", '[]', '{}', '"*"',
        '"</script>"', "\"\x7f\"", '[' x 120 . ']' x 120,
        '"' . "\xf0\x9f\x98\x80" x 1000 . '"', '"' . 'x' x 60_000 . '"',
    );

    $minified{$_} = $_ for @same;

    for my $sent (sort keys %minified) {
        my $name = substr $sent, 0, 30;
        $name =~ s/[^ -~]/?/g;

        $ann->send_text('{"op":"publish","channel":"data","data":'
                        . $sent . '}');

        for my $ws ($ann, $bob) {
            my $text = $ws->recv_text;

            ok(index($text, ",\"data\":$minified{$sent},\"from\":") > 0,
               "as it is: $name") or diag(substr $text, 0, 200);
        }
    }

    my $raw = $nginx->ws(path => '/raw?channel=data', worker => $one);

    $ann->send_text('{"op":"publish","channel":"data","data":{ "x": [1 ]}}');
    is($raw->recv_text, '{"x":[1]}', 'raw: as JSON');
    $_->next_push for $ann, $bob;

    $raw->send_text("quo\"te\\ \xe2\x80\xa8 \x01 \xc3\xa9");
    like($_->recv_text, qr/"data":"quo\\"te\\\\\ \\u2028\ \\u0001\ \xc3\xa9"/x,
         'text from raw: a string, line separators escaped')
        for $ann, $bob;
    $_->ok('leave', channel => 'data') for $ann, $bob;
};


subtest 'what is wrong' => sub {
    my %bad = (
        'no data'        => {},
        'a long event'   => { data => 1, event => 'x' x 129 },
        'an empty event' => { data => 1, event => '' },
        'event'          => { data => 1, event => 1 },
        'event \n'       => { data => 1, event => "a\n" },
        'a long key'     => { data => 1, key => 'x' x 129 },
        'an empty key'   => { data => 1, key => '' },
        'key'            => { data => 1, key => {} },
        'key NUL'        => { data => 1, key => "a\0" },
        'echo'           => { data => 1, echo => 1 },
        'store'          => { data => 1, store => 'no' },
        'if'             => { data => 1, if => 1 },
        'if, half'       => { data => 1, if => { offset => 1 } },
        'enc'            => { data => 'x', enc => 'hex' },
        'enc, type'      => { data => 'x', enc => 1 },
        'to'             => { data => 1, to => { client => 5 } },
        'messages'       => { messages => {} },
        'no message'     => { messages => [] },
        'messages, data' => { messages => [ { data => 1 } ], data => 1 },
        'messages, type' => { messages => [ 1 ] },
        'messages, null' => { messages => [ undef ] },
    );

    for my $name (sort keys %bad) {
        my $r = $ann->cmd('publish', channel => 'wrong', %{ $bad{$name} });

        is(code($r), 'bad_request', $name);
        like($r->{error}{message}, qr/./, 'and why');
    }

    is($ann->ok('history', channel => 'wrong')->{offset}, 0,
       'nothing of it is published');

    ok($ann->ok('publish', channel => 'right', data => 1,
                event => "\x{e9}" x 64, key => 'x' x 128),
       '128 bytes are fine');

    my $r = client($one, undef, path => '/hear')
            ->cmd('publish', channel => 'a', data => 1);
    is(code($r), 'forbidden', 'without the permission');
    like($r->{error}{message}, qr/fanout_permit publish/, 'which one');

    my $few = client($two, undef, path => '/limits');

    ok($few->ok('publish', channel => 'size', data => 'x' x 998),
       'as large as is allowed');
    $r = $few->cmd('publish', channel => 'size', data => 'x' x 999);
    is(code($r), 'too_large', 'a byte more');
    is_deeply($r->{error}{data}, { limit => 'message', max => 1000 },
              'the limit');
    like($r->{error}{message}, qr/fanout_message_size/, 'and the directive');

    $few->send_text('{"id":"w","op":"publish","channel":"size","data":[1'
                    . ' ' x 3000 . ']}');
    ok($few->reply('w')->{ok}, 'blanks don\'t count');

    $few->send_text('{"op":"publish","channel":"size","data":"' . 'x' x 9000);
    is($few->wait_close, 1009, 'more than any command may have: 1009');
};


subtest 'several at once' => sub {
    my $bin = encode_base64("\0\xff\x80", '');

    $_->ok('join', channel => 'several') for $ann, $bob;

    my $ok = $ann->ok('publish', channel => 'several', messages => [
        { data => 1 }, { data => 2, event => 'e', meta => [ 1 ] },
        { data => $bin, enc => 'base64', key => 'k' },
    ]);

    for my $ws ($ann, $bob) {
        my @m = map { $ws->next_push } 1 .. 3;

        is_deeply([ map { $_->{offset} } @m ], [ 1 .. 3 ], 'offsets');
        is_deeply([ map { $_->{data} } @m ], [ 1, 2, $bin ], 'data');
        is_deeply([ map { $_->{event} } @m ], [ undef, 'e', undef ], 'events');
        is_deeply($m[1]{meta}, [ 1 ], 'meta');
        is_deeply([ @{ $m[2] }{qw( enc key )} ], [ 'base64', 'k' ], 'enc, key');
    }

    is($ok->{offset}, 3, 'the reply has the last offset');

    for my $bad ({}, 7, { data => 1, event => '' }, { data => '?', enc => 'base64' },
                 { data => 'x' x 65537 }, { data => 1, meta => 'm' x 2000 },
                 { data => 1, key => '' }, { data => 1, enc => 'x' })
    {
        for my $at (0, 3) {
            my @all = map { { data => $_ } } 1 .. 4;
            $all[$at] = $bad;

            my $r = $ann->cmd('publish', channel => 'several',
                              messages => \@all);
            ok($r->{error}, short($bad) . " at $at");
        }
    }

    is($ann->ok('history', channel => 'several')->{offset}, 3,
       'all or nothing');

    my $few = client($one, undef, path => '/limits');
    my $r = $few->cmd('publish', channel => 'several',
                      messages => [ map { { data => $_ } } 1 .. 5 ]);
    is(code($r), 'too_many', 'more than fanout_batch');
    is_deeply($r->{error}{data}, { limit => 'batch', max => 4 }, 'the limit');

    my @m = map { { data => "m$_" } } 1 .. 64;
    is($ann->ok('publish', channel => 'several', messages => \@m)->{offset}, 67,
       'as many as the default');

    $r = $ann->cmd('publish', channel => 'several', messages => [ @m, @m ]);
    is(code($r), 'too_many', 'and no more');

    $_->ok('ping') && $_->drain && $_->ok('leave', channel => 'several')
        for $ann, $bob;
};


subtest 'if' => sub {
    my $ok = $ann->ok('publish', channel => 'if', data => 1);
    my $epoch = $ok->{epoch};

    $ok = $bob->ok('publish', channel => 'if', data => 2,
                   if => { epoch => $epoch, offset => 1 });
    is($ok->{offset}, 2, 'it holds');

    for my $if ([ $epoch, 1 ], [ $epoch, 3 ], [ $epoch, 0 ], [ 'f' x 16, 2 ],
                [ 'nonsense', 2 ], [ '', 2 ], [ '0' x 16, 2 ])
    {
        my $r = $ann->cmd('publish', channel => 'if', data => 'no',
                          if => { epoch => $if->[0], offset => $if->[1] });

        is(code($r), 'conflict', "not so at $if->[0] $if->[1]");
        is_deeply($r->{error}{data}, { epoch => $epoch, offset => 2 },
                  'where it is');
    }

    my $r = $ann->cmd('publish', channel => 'if',
                      messages => [ { data => 'no' }, { data => 'no' } ],
                      if => { epoch => $epoch, offset => 1 });
    is(code($r), 'conflict', 'for several');
    is($ann->ok('publish', channel => 'if',
                messages => [ { data => 3 }, { data => 4 } ],
                if => { epoch => $epoch, offset => 2 })->{offset}, 4,
       'for several, it holds');
    is_deeply(data_of('if'), [ 1 .. 4 ], 'what is there');

    # of many that want the same place one wins

    for my $round (5 .. 24) {
        my @all = ($ann, $bob);
        my @ids = map {
            $_->send_cmd('publish', channel => 'if', data => $round,
                         if => { epoch => $epoch, offset => $round - 1 })
        } @all;
        my $won = grep { $_->{ok} } map { $all[$_]->reply($ids[$_]) } 0, 1;

        is($won, 1, "one wins $round") or last;
    }

    $epoch = $ann->ok('join', channel => 'if:new')->{epoch};
    ok($ann->ok('publish', channel => 'if:new', data => 1,
                if => { epoch => $epoch, offset => 0 }),
       'the first of a channel');
    $ann->ok('leave', channel => 'if:new');
    $ann->drain;
};


subtest 'not stored' => sub {
    $_->ok('join', channel => 'store') for $ann, $bob;

    $ann->ok('publish', channel => 'store', data => 1);
    my $ok = $ann->ok('publish', channel => 'store', data => 2, store => $false);
    is($ok->{offset}, 2, 'takes an offset');
    $ann->ok('publish', channel => 'store', data => 3, store => $true);
    $ann->ok('publish', channel => 'store', store => $false,
             messages => [ { data => 4 }, { data => 5 } ]);

    is_deeply([ map { my $ws = $_; map { $ws->next_push->{data} } 1 .. 5 }
                $ann, $bob ], [ 1 .. 5, 1 .. 5 ], 'delivered, in order');
    is_deeply(data_of('store'), [ 1, 3 ], 'not in the history');

    $ok = $bob->ok('join', channel => 'store', since => {
        epoch => $ok->{epoch}, offset => 0 });
    ok($ok->{recovered}, 'they don\'t count as lost');
    is($ok->{missed}, 2, 'nor as missed');

    $_->ok('leave', channel => 'store') for $ann, $bob;
};


subtest 'binary' => sub {
    my $raw = $nginx->ws(path => '/raw?channel=bin', worker => $two);
    $_->ok('join', channel => 'bin') for $ann, $bob;

    for my $bytes ('', "\0", "\xff\xfe", "\0\1\2", 'x' x 1000, 'x' x 40_001,
                   join('', map { chr } 0 .. 255))
    {
        my $n = length $bytes;
        my $b64 = encode_base64($bytes, '');

        $ann->ok('publish', channel => 'bin', enc => 'base64', data => $b64);

        for my $ws ($ann, $bob) {
            my $m = $ws->next_push;
            ok($m->{data} eq $b64 && $m->{enc} eq 'base64', "$n bytes");
        }

        my $m = $raw->recv_message;
        ok($m->{opcode} == 2 && $m->{payload} eq $bytes, "$n bytes, raw");
    }

    $raw->send_binary("\1\2\3");
    is($_->next_push->{data}, 'AQID', 'from raw') for $ann, $bob;
    $raw->recv_message;

    for my $bad ('A', '====', 'AA=A', "AA\nAA", '????', 7, {}, undef, '-_-_') {
        is(code($ann->cmd('publish', channel => 'bin', enc => 'base64',
                          data => $bad)),
           'bad_request', 'no base64: ' . short($bad));
    }

    $_->ok('leave', channel => 'bin') for $ann, $bob;
    $ann->drain;
};


subtest 'meta' => sub {
    $bob->ok('join', channel => 'meta');

    for my $meta ('x', 7, undef, {}, [ 1, { a => 1 } ], 'm' x 1022) {
        $ann->ok('publish', channel => 'meta', data => 1, meta => $meta);

        my $m = $bob->next_push;
        ok(exists $m->{meta}, 'there');
        is_deeply($m->{meta}, $meta, 'meta ' . short($meta));
    }

    my $r = $ann->cmd('publish', channel => 'meta', data => 1,
                      meta => 'm' x 1023);
    is(code($r), 'too_large', 'over 1 KB');
    is_deeply($r->{error}{data}, { limit => 'meta', max => 1024 }, 'the limit');
    $bob->ok('leave', channel => 'meta');
};


subtest 'keys' => sub {
    my $twin = client($two, 'ann');

    my $first = $ann->ok('publish', channel => 'key', data => 1, key => 'k');
    ok(!exists $first->{duplicate}, 'the first is none');

    for my $ws ($ann, $twin) {
        my $again = $ws->ok('publish', channel => 'key', data => 'other',
                            key => 'k');
        is_deeply($again, { %$first, duplicate => $true },
                  'again: the first result, on any worker');
    }

    is(code($ann->cmd('publish', channel => 'key', data => 1, key => 'k',
                      if => { epoch => $first->{epoch}, offset => 77 })),
       'no error', 'a retry is no conflict');

    is($bob->ok('publish', channel => 'key', data => 2, key => 'k')->{offset},
       2, 'another user, another scope');
    is($ann->ok('publish', channel => 'key2', data => 3, key => 'k')->{offset},
       1, 'so has another channel');
    is($ann->ok('publish', channel => 'key', data => 3, key => 'k2')->{offset},
       3, 'another key');

    my ($x, $y) = (client($one), client($two));
    $first = $x->ok('publish', channel => 'key', data => 4, key => 'k');
    is($first->{offset}, 4, 'nobody: the channel is the scope');
    ok($y->ok('publish', channel => 'key', data => 5, key => 'k')->{duplicate},
       'for all without a user');

    my @m = ({ data => 'a' }, { data => 'b' });
    $first = $ann->ok('publish', channel => 'key', messages => \@m, key => 'm');
    is($first->{offset}, 6, 'of several');
    is_deeply($twin->ok('publish', channel => 'key', messages => \@m,
                        key => 'm'), { %$first, duplicate => $true },
              'all of them are the duplicate');
    is_deeply(data_of('key'), [ 1, 2, 3, 4, 'a', 'b' ],
              'each is there once');

    $ann->ok('publish', channel => 'none:k', data => 1, key => 'k');
    ok($ann->ok('publish', channel => 'none:k', data => 1, key => 'k')
       ->{duplicate}, 'without history too');

    # a refused one is not remembered

    is(code($ann->cmd('publish', channel => 'key3', data => 'x' x 65537,
                      key => 'r')), 'too_large', 'refused');
    ok(!$ann->ok('publish', channel => 'key3', data => 1, key => 'r')
       ->{duplicate}, 'is not done');

    # the same key at the same time

    for my $n (1 .. 20) {
        my @ws  = ($ann, $twin);
        my @ids = map { $_->send_cmd('publish', channel => 'key4', data => $n,
                                     key => "t$n") } @ws;
        my @r = map { $ws[$_]->reply($ids[$_])->{ok} } 0, 1;

        is($r[0]{offset}, $r[1]{offset}, 'one offset') or last;
        is(scalar(grep { $_->{duplicate} } @r), 1, 'one duplicate') or last;
    }

    is(scalar @{ data_of('key4') }, 20, 'no more than that');
};


subtest 'echo' => sub {
    my $twin = client($two, 'ann');

    $_->ok('join', channel => 'echo') for $ann, $twin, $bob;

    $ann->ok('publish', channel => 'echo', data => 1, echo => $false);
    is($_->next_push->{data}, 1, 'others get it, other sessions too')
        for $twin, $bob;
    $ann->ok('publish', channel => 'echo', data => 2, echo => $true);
    is($ann->next_push->{data}, 2, 'the publisher gets only the other');

    $ann->ok('publish', channel => 'echo', echo => $false,
             messages => [ { data => 3 }, { data => 4 } ]);
    $bob->ok('publish', channel => 'echo', data => 5);
    is($ann->next_push->{data}, 5, 'for several');

    my $ok = $ann->ok('join', channel => 'echo', history => 9);
    is_deeply([ map { $_->{data} } @{ $ok->{messages} } ], [ 2, 5 ],
              'nor from the history of a join');
    is_deeply(data_of('echo'), [ 1 .. 5 ], 'but history itself has all');

    # a reply precedes the sender's own echo

    for my $worker ($one, $two) {
        my $ws = client($worker);
        $ws->ok('join', channel => 'precede');
        my $bad = 0;

        for (1 .. 50) {
            $ws->send_text('{"id":1,"op":"publish","channel":"precede",'
                           . '"data":1}');
            $bad++ if $ws->recv_text !~ /^\{"id":1,"ok"/;
            $bad++ if $ws->recv_text !~ /^\{"channel":/;
        }

        is($bad, 0, 'the reply first, then the echo');
    }
};

$_->ok('ping') for $ann, $bob;
is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
