#!/usr/bin/env perl

# What locks refuse. If this fails, a client that nobody trusts fills the zone
# or a worker with locks and waits, or is cut off for a mistake that an error
# could have told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    http => <<'END',
        fanout_zone app 32m;
        fanout_zone tiny 2m records=1% address=100%;
        fanout_rate off;
        fanout_budget off;
        fanout_channel app few:* locks=1m locks_max=3;
        fanout_channel app * locks=1m;
        fanout_channel tiny * locks=1h locks_max=100000;
END
    server => <<'END',
        location /realtime { fanout app; fanout_permit all *; }
        location /tiny { fanout tiny; fanout_permit all *; }
        location /status { fanout_status app; }
END
);

my $ann = $nginx->native(path => '/realtime');
my $bob = $nginx->native(path => '/realtime');

sub code { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

sub refused {
    my ($reply, $code, $limit, $max, $what) = @_;

    is(code($reply), $code, "$what: $code");
    is_deeply([ @{ $reply->{error}{data} || {} }{qw( limit max )} ], [ $limit, $max ],
              "$what: which limit") if $limit;
}


subtest 'what is no lock' => sub {
    $ann->ok('join', channel => 'x');

    my %c = (channel => 'x', name => 'n');

    my @wrong = (
        [ 'no name'           => channel => 'x' ],
        [ 'an empty name'     => %c, name => '' ],
        [ 'a long name'       => %c, name => 'x' x 256 ],
        [ 'a control character' => %c, name => "a\nb" ],
        [ 'a null byte'       => %c, name => "a\0" ],
        [ 'a number'          => %c, name => 5 ],
        [ 'an object'         => %c, name => {} ],
        [ 'ttl 0'             => %c, ttl => 0 ],
        [ 'a negative ttl'    => %c, ttl => -1 ],
        [ 'half a ms'         => %c, ttl => 1.5 ],
        [ 'a ttl above locks=' => %c, ttl => 60001 ],
        [ 'a huge ttl'        => %c, ttl => 10 ** 18 ],
        [ 'a ttl as text'     => %c, ttl => '5' ],
        [ 'a negative wait'   => %c, wait => -1 ],
        [ 'a wait of a day'   => %c, wait => 86400000 ],
        [ 'a wait above the limit' => %c, wait => 300001 ],
        [ 'another member'    => %c, holder => 5 ],
        [ 'a channel that is none' => %c, channel => 'a*' ],
    );

    for my $wrong (@wrong) {
        my ($what, %command) = @$wrong;
        my $reply = $ann->cmd('lock', %command);

        is(code($reply), 'bad_request', $what);
        ok(length $reply->{error}{message}, "$what: why");
    }

    $ann->send_text("{\"id\":\"u\",\"op\":\"lock\",\"channel\":\"x\",\"name\":\"\\ud800\"}");
    is(code($ann->reply('u')), 'bad_request', 'half a character');

    is(code($ann->cmd('unlock', %c, token => 0)), 'bad_request', 'a token of 0');
    is(code($ann->cmd('unlock', %c, token => 'x')), 'bad_request', 'a token as text');

    refused($ann->cmd('lock', %c, data => 'x' x 1023), 'too_large', 'lock', 1024, 'data');
    ok($ann->ok('lock', %c, data => 'x' x 1022)->{token}, 'up to 1 KB');
    ok($ann->ok('lock', channel => 'x', name => "\x{20ac}" x 85)->{token}, 'a name of 255');
    ok($ann->ok('lock', channel => 'x', name => 'a*"\\')->{token}, 'of any characters');
    $ann->ok('unlock', channel => 'x', name => $_) for 'n', "\x{20ac}" x 85, 'a*"\\';
    ok($ann->ok('ping'), 'the connection lives');
};


subtest 'how many' => sub {
    $_->ok('join', channel => 'few:1') for $ann, $bob;
    $ann->ok('lock', channel => 'few:1', name => "$_") for 1 .. 3;
    refused($ann->cmd('lock', channel => 'few:1', name => '4'), 'too_many', 'locks', 3,
            'of a channel');
    ok($ann->ok('lock', channel => 'few:1', name => '2')->{token}, 'a renewal is none more');
    $ann->ok('unlock', channel => 'few:1', name => '2');
    ok($ann->ok('lock', channel => 'few:1', name => '4')->{token}, 'one that ends makes room');

    $ann->ok('join', channel => 'h');
    $ann->ok('lock', channel => 'h', name => "$_") for 1 .. 32;
    refused($ann->cmd('lock', channel => 'h', name => '33'), 'too_many', 'held', 32,
            'of a client');

    $bob->ok('join', channel => 'h');
    my @waits = map { $bob->send_cmd('lock', channel => 'h', name => "$_", wait => 60000) }
                1 .. 16;
    refused($bob->cmd('lock', channel => 'h', name => '17', wait => 60000), 'too_many', 'waits',
            16, 'waits of a session');
    $bob->ok('join', channel => 'h2');
    is(code($bob->cmd('lock', channel => 'h2', name => '17', wait => 60000)), 'too_many',
       'on all its channels');
    ok($bob->ok('lock', channel => 'h', name => 'other')->{token}, 'but it may take others');
    $ann->ok('leave', channel => 'h');
    is(code($bob->reply($_)), 'ok', 'each wait is answered') for @waits;
    $bob->ok('leave', channel => 'h');
};


subtest '10,000 waiters' => sub {
    $ann->ok('join', channel => 'crowd');
    $ann->ok('lock', channel => 'crowd', name => 'x');

    my @crowd = map { $nginx->native(path => '/realtime') } 1 .. 70;
    $_->ok('join', channel => 'crowd', want => []) for @crowd;

    my (@waiting, %refused);

    for my $i (1 .. 10000) {
        my $ws = $crowd[$i % 70];
        my $id = $ws->send_cmd('lock', channel => 'crowd', name => 'x', wait => 200000);

        # what is in line already has its answer later
        push @waiting, [ $ws, $id ] if $i <= 70;
        next if $i % 1000;
        $_->ok('ping') for @crowd;
    }

    my $status = $nginx->http->get('/status?format=json')->json;
    my $data = $bob->ok('join', channel => 'crowd')
               && $bob->cmd('lock', channel => 'crowd', name => 'x')->{error}{data};
    is($data->{waiting}, 64, '64 wait for a lock');
    refused($bob->cmd('lock', channel => 'crowd', name => 'x', wait => 9), 'too_many',
            'waiters', 64, 'one more');

    $ann->ok('unlock', channel => 'crowd', name => 'x');
    my $got = grep { my $r = eval { $_->[0]->reply($_->[1], 0.01) }; $r && $r->{ok} } @waiting;
    cmp_ok($got, '<=', 1, 'and one has it at a time');
    $_->disconnect for @crowd;
    ok($ann->ok('ping'), 'the others go on');
};


subtest 'a full zone' => sub {
    my (@ws, $reply);

    for (1 .. 40) {
        push @ws, my $ws = $nginx->native(path => '/tiny');
        $ws->ok('join', channel => 't', want => []);
        for my $n (1 .. 32) {
            $reply = $ws->cmd('lock', channel => 't', name => "$_-$n", data => 'x' x 1000);
            last if $reply->{error};
        }
        last if $reply->{error};
    }

    is(code($reply), 'zone_full', 'locks have the share of records');
    like($reply->{error}{message}, qr/records/, 'which the error names');
    ok($ws[-1]->ok('publish', channel => 't', data => 1), 'and others go on');
    $ws[0]->ok('unlock', channel => 't', name => '1-1');
    is(code($ws[-1]->cmd('lock', channel => 't', name => 'again', data => 'x' x 1000)), 'ok',
       'an unlock makes room');
    $_->disconnect for @ws;
};


$nginx->done_testing;
