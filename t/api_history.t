#!/usr/bin/env perl

# History, list, inspect and purge of the HTTP API: if this fails, a backend
# that pages through a channel misses or repeats messages, is not told of what
# is gone, or sees channels that are not there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_zone other 8m;
        fanout_channel app kept:* history=10;
        fanout_channel app none:*;
        fanout_channel app * history=2000;
        fanout_channel other * history=10;
        client_max_body_size 20m;
END
    server => <<'END',
        location /fanout/ { fanout_api app; fanout_message_size 4m; }
        location /few/    { fanout_api app; fanout_history 5; }
        location /other/  { fanout_api other; }
END
);

my $http = $nginx->http;


sub url     { "/fanout/channels/$_[0]/messages" . ($_[1] // '') }
sub publish { $http->post(url($_[0]), $_[1])->json }
sub history { $http->get(url(@_))->json }
sub offsets { [ map { $_->{offset} } @{ $_[0]{messages} } ] }

sub refused {
    my ($r, $status, $code, $message, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is("$r->{status} " . $r->json->{error}{code}, "$status $code", $name);
    like($r->json->{error}{message}, $message, "$name: message");
}


subtest 'pages backwards' => sub {
    publish('back', $_) for 1 .. 25;

    my $h = history('back');

    is($h->{offset}, 25, 'offset of the channel');
    is_deeply(offsets($h), [1 .. 25], 'all');
    is_deeply([ map { $_->{data} } @{ $h->{messages} } ], [1 .. 25], 'in order');
    ok(!exists $h->{next} && !exists $h->{recovered}, 'and that is said');

    $h = history('back', '?limit=10');
    is_deeply(offsets($h), [16 .. 25], 'the last ones');
    is($h->{next}, 16, 'there are more');

    $h = history('back', "?limit=10&before=$h->{next}");
    is_deeply(offsets($h), [6 .. 15], 'those before');
    is($h->{next}, 6, 'there are more');

    $h = history('back', "?limit=10&before=$h->{next}");
    is_deeply(offsets($h), [1 .. 5], 'the first ones');
    ok(!exists $h->{next}, 'there are no more');

    is_deeply(offsets(history('back', '?before=1')), [], 'none before the first');
    is_deeply(offsets(history('back', '?before=100&limit=2')), [24, 25], 'before the future');
    is_deeply(offsets(history('back', '?limit=0')), [], 'no entries asked for');
    is(history('back', '?limit=0')->{offset}, 25, 'only where the channel is');
    is_deeply(offsets($http->get('/few/channels/back/messages?limit=100')->json), [21 .. 25],
              'never more than fanout_history');
};


subtest 'pages forwards' => sub {
    my $epoch = (map { publish('fore', $_)->{epoch} } 1 .. 25)[0];

    my $h = history('fore', "?since=$epoch:3&limit=10");
    is_deeply(offsets($h), [4 .. 13], 'those after');
    is($h->{recovered}, Fanout::JSON::true(), 'nothing is missing');
    is($h->{next}, 13, 'there are more');

    $h = history('fore', "?since=$epoch:$h->{next}&limit=12");
    is_deeply(offsets($h), [14 .. 25], 'exactly the rest');
    ok(!exists $h->{next}, 'there are no more');

    $h = history('fore', "?since=$epoch:25");
    is_deeply(offsets($h), [], 'nothing after the last');
    is($h->{recovered}, Fanout::JSON::true(), 'and nothing missing');

    is_deeply(offsets(history('fore', "?since=$epoch:5&before=9")), [6 .. 8], 'since and before');
    is(history('fore', "?since=$epoch:26")->{recovered}, Fanout::JSON::false(), 'the future');

    is(history('fore', "?since=$_:20")->{recovered}, Fanout::JSON::false(),
       "an epoch that is none of ours: $_") for 'x', '0', "${epoch}0", uc $epoch, '%F0%9F%98%80';

    $h = history('fore', '?since=0123456789abcdef:20&limit=3');
    is($h->{recovered}, Fanout::JSON::false(), 'another epoch');
    is_deeply(offsets($h), [1 .. 3], 'from the oldest on');
    is($h->{epoch}, $epoch, 'and the epoch to go on with');
};


subtest 'what is gone' => sub {
    my $epoch = (map { publish('kept:1', $_)->{epoch} } 1 .. 25)[0];

    is_deeply(offsets(history('kept:1')), [16 .. 25], 'ten are kept');
    is(history('kept:1', "?since=$epoch:15")->{recovered}, Fanout::JSON::true(),
       'just enough');

    my $h = history('kept:1', "?since=$epoch:14");
    is($h->{recovered}, Fanout::JSON::false(), 'one is missing');
    is_deeply(offsets($h), [16 .. 25], 'the rest');

    publish('none:1', 1);
    is_deeply(offsets(history('none:1')), [], 'nothing is kept');
    is(history('none:1')->{offset}, 1, 'but counted');
};


subtest 'large pages are cut' => sub {
    my $epoch = (map { publish('large', '"' . $_ x 200000 . '"')->{epoch} } 1 .. 9)[0];

    my ($since, @got) = (0);

    for (1 .. 9) {
        my $r = $http->get(url('large', "?since=$epoch:$since"));

        cmp_ok(length $r->{body}, '<', 1300000, 'a page has an end');
        push @got, @{ offsets($r->json) };

        last if !defined($since = $r->json->{next});
    }

    is_deeply(\@got, [1 .. 9], 'forwards all come');

    (my $before, @got) = (0);

    for (1 .. 9) {
        my $r = $http->get(url('large', "?before=$before"));

        cmp_ok(length $r->{body}, '<', 1300000, 'a page has an end');
        unshift @got, @{ offsets($r->json) };

        last if !defined($before = $r->json->{next});
    }

    is_deeply(\@got, [1 .. 9], 'backwards as well');

    publish('huge', '"' . 'x' x 1100000 . '"');
    is(length history('huge')->{messages}[0]{data}, 1100000, 'one is a page at least');
};


subtest 'many entries' => sub {
    my $body = Fanout::JSON::encode([ map { { op => 'publish', channel => 'many', data => $_ } }
                                      1 .. 50 ]);

    is($http->post('/fanout/batch', $body)->{status}, 200) for 1 .. 24;

    my ($before, @got, $pages) = (0);

    for (1 .. 20) {
        my $h = history('many', "?limit=171&before=$before");

        unshift @got, @{ offsets($h) };
        $pages++;

        last if !defined($before = $h->{next});
    }

    is_deeply(\@got, [1 .. 1200], 'all in order');
    is($pages, 8, 'in eight pages');
    is(scalar @{ history('many', '?limit=9999')->{messages} }, 1000, 'the default limit');
};


subtest 'bad arguments' => sub {
    publish('args', 1);

    refused($http->get(url('args', "?$_->[0]")), 400, 'bad_request', $_->[1], $_->[0])
        for [ 'since=1', qr/"since" is not epoch:offset/ ], [ 'since=:1', qr/"since"/ ],
            [ 'limit=x', qr/"limit" is not a number/ ], [ 'limit=-1', qr/"limit"/ ],
            [ 'before=1.5', qr/"before"/ ], [ 'before=99999999999999999999', qr/"before"/ ];

    refused($http->get(url('nobody')), 404, 'not_found', qr/no channel "nobody"/, 'no channel');
};


subtest 'inspect' => sub {
    my $epoch = publish('info', '"four"')->{epoch};
    publish('info', '"or"');

    is_deeply($http->get('/fanout/channels/info')->json,
              { name => 'info', epoch => $epoch, offset => 2, first => 1, messages => 2,
                bytes => 10, subscribers => 0, workers => 0 }, 'what there is');

    refused($http->get('/fanout/channels/nobody'), 404, 'not_found', qr/"nobody"/,
            'no channel');
    refused($http->get('/fanout/channels/a%2A'), 400, 'bad_request', qr/name/, 'no name');
    is($http->get('/other/channels/info')->{status}, 404, 'zones are apart');
};


subtest 'purge' => sub {
    my $old = publish('purge', 1);
    my $r = $http->delete('/fanout/channels/purge');

    is($r->{status}, 200);
    isnt($r->json->{epoch}, $old->{epoch}, 'a new epoch');
    is($r->json->{offset}, 0, 'from the start');

    my $h = history('purge');
    is_deeply(offsets($h), [], 'no history');
    is($h->{epoch}, $r->json->{epoch}, 'the epoch is there');
    is(history('purge', "?since=$old->{epoch}:1")->{recovered}, Fanout::JSON::false(),
       'the old one is gone');

    my $next = publish('purge', 2);
    is($next->{epoch}, $r->json->{epoch}, 'goes on in the new epoch');
    is_deeply([ map { $_->{data} } @{ history('purge')->{messages} } ], [2], 'with new messages');

    is($http->delete('/fanout/channels/purge?reason=tidy')->{status}, 200, 'a reason');
    refused($http->delete('/fanout/channels/purge?reason=' . 'x' x 129), 400, 'bad_request',
            qr/"reason".*128/, 'a long reason');
    refused($http->delete('/fanout/channels/nobody'), 404, 'not_found', qr/"nobody"/,
            'no channel');
};


sub list {
    my ($via, $args, $max) = @_;

    my ($cursor, @names) = ('');

    for (1 .. 100) {
        my $r = $via->get("$args&cursor=$cursor")->json;

        cmp_ok(@{ $r->{channels} }, '<', $max, 'a page has an end');
        push @names, map { $_->{name} } @{ $r->{channels} };

        return sort @names if !defined($cursor = $r->{cursor});
    }

    die 'the list has no end';
}

subtest 'list' => sub {
    is_deeply($http->get('/other/channels')->json, { channels => [] }, 'nothing yet');

    my @all = sort map { sprintf 'room:%03d', $_ } 1 .. 150;

    $http->post("/other/channels/$_/messages", '"x"') for @all, '%E2%80%A8', 'a:%C3%A9';

    my $one = $http->get('/other/channels?limit=1000&match=a:*')->json->{channels};

    is(scalar @$one, 1, 'one matches');
    is_deeply({ %{ $one->[0] }, epoch => '' },
              { name => "a:\x{e9}", epoch => '', offset => 1, first => 1, messages => 1,
                bytes => 3, subscribers => 0, workers => 0 }, 'as if inspected');

    is_deeply([ list($http, '/other/channels?limit=20', 20 + 32) ],
              [ sort @all, "\x{2028}", "a:\x{e9}" ], 'every channel once');
    is_deeply([ list($http, '/other/channels?limit=7&match=room:*', 7 + 32) ], \@all,
              'those of a pattern');
    is_deeply([ list($http, '/other/channels?match=*:1*0', 132) ],
              [ grep { /:1.*0$/ } @all ], 'stars anywhere');
    is_deeply([ list($http, '/other/channels?match=room', 132) ], [], 'a pattern is whole');
    like($http->get('/other/channels?limit=1000')->{body}, qr/"name":"\\u2028"/, 'escaped');

    my ($first, $second) = map { $nginx->http(worker => $_) } $nginx->worker_pids;
    is_deeply([ list($first, '/other/channels?limit=40', 80) ],
              [ list($second, '/other/channels?limit=40', 80) ], 'on every worker');

    refused($http->get('/other/channels?cursor=x'), 400, 'bad_request', qr/"cursor"/, 'a cursor');
    refused($http->get('/other/channels?limit=x'), 400, 'bad_request', qr/"limit"/, 'a limit');
    refused($http->get('/other/channels?match=%01'), 400, 'bad_request', qr/"match"/,
            'a pattern');
    is_deeply($http->get('/other/channels?cursor=9007199254740991')->json, { channels => [] },
              'a cursor past the end');
};
