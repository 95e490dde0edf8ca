#!/usr/bin/env perl

# What a subscription token permitted ends with it. If this fails, a client keeps a
# member or a lock because it comes back again and again, or with a token that
# grants less, gets what waited to be sent when its token was revoked, or keeps a
# channel that its user had to be authorized for anew.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep );

use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;


my $secret = 'a secret that only the backend knows';
my $jwt    = "fanout_jwt 'secret=$secret' audience=rt channel=channel leeway=0";

my $nginx = Fanout::Nginx->start(
    workers => 2,
    http    => <<'END',
        fanout_zone app 32m;
        fanout_channel app * history=10 presence=on locks=1m batch=10ms linger=30s;
        fanout_resume 1m;
        fanout_budget off;
        fanout_rate   off;
        fanout_buffer 16m;
END
    server => <<"END",
        location /fanout/ { fanout_api app; }
        location /rt {
            fanout app;
            $jwt from=header from=subprotocol;
            fanout_user \$fanout_claim_sub;
        }
        location /any {
            fanout app;
            fanout_permit all *;
        }
END
);

my $http = $nginx->http;

sub token {
    my ($sub, %claims) = @_;

    return Fanout::JWT::sign('HS256', $secret, { aud => 'rt', sub => $sub, %claims });
}

sub ticket {
    my ($channel, $ops, %claims) = @_;

    return token('ann', channel => $channel, ops => $ops, %claims);
}

sub connect_as { $nginx->native(path => '/rt', token => token('ann'), @_) }
sub code       { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

sub members {
    my $list = $http->get("/fanout/channels/$_[0]/presence")->json->{members};
    return scalar @{ $list || [] };
}

sub locked {
    return scalar @{ $http->get("/fanout/channels/$_[0]/locks")->json->{locks} || [] };
}

sub until_no {
    my ($what, $channel) = @_;

    for (1 .. 100) {
        return 1 if !$what->($channel);
        sleep 0.05;
    }

    return 0;
}

my @all = qw( join presence lock );

sub holder {
    my ($channel) = @_;

    my $ann = connect_as();
    $ann->ok('join', channel => $channel, presence => { a => 1 },
             token => ticket($channel, \@all));
    $ann->ok('lock', channel => $channel, name => 'l');
    return $ann;
}


subtest 'coming back again and again' => sub {
    my $ann = holder('seat');

    for (1 .. 3) {
        $ann->cut;
        $ann = connect_as(resume => $ann->welcome->{resume});
        ok($ann->welcome->{resumed}, "back, $_");
        is(members('seat') . locked('seat'), '11', 'it may join again');
    }

    $ann->ok('join', channel => 'seat', token => ticket('seat', \@all));

    for (1 .. 3) {
        $ann->cut;
        $ann = connect_as(resume => $ann->welcome->{resume});
        is(code($ann->cmd('join', channel => 'seat')), 'forbidden', "back again, $_");
    }

    is(members('seat') . locked('seat'), '11', 'it is still there');

    $ann->cut;
    $ann = connect_as(resume => $ann->welcome->{resume});

    ok(until_no(\&members, 'seat'), 'once more without its token, and it has no member');
    ok(until_no(\&locked, 'seat'), 'and no lock');
    is(code($ann->cmd('join', channel => 'seat', token => ticket('seat', \@all))), 'ok',
       'it may join as before');
};


subtest 'coming back with less' => sub {
    my $ann = holder('less');

    $ann->cut;
    $ann = connect_as(resume => $ann->welcome->{resume});
    $ann->ok('join', channel => 'less', token => ticket('less', [ qw( join lock ) ]));

    ok(until_no(\&members, 'less'), 'no member without presence');
    ok(until_no(\&locked, 'less'), 'the lock goes with it');

    $ann = holder('poll');
    $ann->cut;

    my $poll = $http->get('/rt?poll=1&timeout=0&session=1&channel=poll', headers => {
        Authorization       => 'Bearer ' . token('ann'),
        'Fanout-Resume'     => $ann->welcome->{resume},
        'Fanout-Join-Token' => ticket('poll', [ 'join' ]) });

    is($poll->{status}, 200, 'a poll');
    like($poll->{body}, qr/"resumed":true/, 'as the same client');
    ok(until_no(\&members, 'poll'), 'has no member');
    ok(until_no(\&locked, 'poll'), 'and no lock');
};


subtest 'joined again with less' => sub {
    for my $lost (qw( presence lock )) {
        my $ann = connect_as();
        my %join = (channel => $lost, want => [ 'messages' ]);

        $ann->ok('join', %join, presence => { a => 1 }, token => ticket($lost, \@all));
        $ann->ok('lock', channel => $lost, name => 'l') if $lost eq 'lock';
        $ann->ok('join', %join,
                 token => ticket($lost, [ grep { $_ ne $lost } @all ]));

        my $left = $ann->next_where(sub { $_[0]{left} }, 10);
        is($left && $left->{left}{reason}, 'forbidden', "without $lost");
        ok(until_no(\&members, $lost), 'no member stays');
        ok(until_no(\&locked, $lost), 'and no lock');
    }
};


subtest 'what waits to be sent' => sub {
    my $ann = connect_as(rcvbuf => 4096);
    $ann->ok('join', channel => 'slow', token => ticket('slow', [ 'join' ], jti => 'j'));

    my $text = '"' . 'x' x 60_000 . '"';
    my $n = 120;

    is($http->post('/fanout/channels/slow/messages', $text)->{status}, 201, 'published')
        for 1 .. $n;

    sleep 0.5;
    $http->request(PUT => '/fanout/denials/token:j?for=60');

    my $got = 0;

    while (my $push = $ann->next_push(10)) {
        $got++ if defined $push->{data};
    }

    cmp_ok($got, '<', $n, "$got of $n, the rest is dropped");
    ok($ann->eof, 'the client is cut off');

    my $again = connect_as(resume => $ann->welcome->{resume});
    ok($again->welcome->{resumed}, 'it comes back');
    is(code($again->cmd('join', channel => 'slow')), 'forbidden', 'but not to the channel');
};


subtest 'authorized anew' => sub {
    my $ann = connect_as();
    $ann->ok('join', channel => $_, token => ticket($_, [ 'join' ])) for 'old', 'new';
    $http->post('/fanout/users/ann/reauthorize?within=2000', '');

    my %told;
    while (keys %told < 3) {
        my $push = $ann->next_where(sub { $_[0]{expiring} }, 10) or last;
        $told{ $push->{channel} // 'session' } = $push->{expiring}{in};
    }

    is(join(' ', sort keys %told), 'new old session', 'all is to be renewed');
    is(code($ann->cmd('auth', token => token('ann'))), 'ok', 'the session is');
    is(code($ann->cmd('join', channel => 'new', token => ticket('new', [ 'join' ]))), 'ok',
       'and one channel');

    my $left = $ann->next_where(sub { $_[0]{left} }, 10);
    is($left && $left->{channel}, 'old', 'the other one ends');
    is($ann->next_where(sub { $_[0]{left} }, 1), undef, 'the one goes on');
};


$nginx->done_testing;
