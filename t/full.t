#!/usr/bin/env perl

# A zone that is full: if this fails, publishes are refused while there is old
# history that could go, large messages find no room between small ones, a
# refusal says nothing a client could act on, or what was full stays full.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw( md5_hex );

use Fanout::Nginx;
use Fanout::Swarm;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 3m idle=1s dedupe=3s address=100%;
        fanout_channel app keep* history=1000;
        fanout_channel app ttl*  history=100000 ttl=1s;
        fanout_channel app *     history=100000;
        client_body_buffer_size 256k;
        fanout_rate off;
        fanout_budget off;
END
    server => <<'END',
        fanout_message_size 128k;
        location /rt { fanout app; fanout_permit all *; fanout_resume 1s; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my @http = map { $nginx->http(worker => $_) } $nginx->worker_pids;
my $n    = 0;

sub http { $http[$n++ % 2] }
sub zone { http()->get('/status')->json->{zone} }

sub post {
    my ($channel, $data, %headers) = @_;

    return http()->post("/fanout/channels/$channel/messages", qq("$data"),
                        headers => \%headers);
}


# All messages that a channel still has, by pages

sub history {
    my ($channel) = @_;

    my (@all, $before);

    for (1 .. 1000) {
        my $h = http()->get("/fanout/channels/$channel/messages?limit=500"
                            . ($before ? "&before=$before" : ''))->json;

        unshift @all, @{ $h->{messages} || [] };
        $before = $h->{next} or last;
    }

    return @all;
}


sub remove {
    my (@names) = @_;

    http()->delete("/fanout/channels/$_") for @names;
}


# Everything that was taken is given back: to the state of the beginning

my $start = zone();

sub recovered {
    my ($name) = @_;

    my $zone;

    ok(wait_for(sub {
        $zone = zone();
        return $zone->{free} == $start->{free} && $zone->{channels} == 0;
    }, 20), "$name: the zone is as free as at the start")
        or diag(explain([ $start, $zone ]));

    is_deeply($zone->{used}, $start->{used}, "$name: in every account");
}


subtest 'the oldest history of the largest goes first' => sub {
    post('keep', "k$_") for 1 .. 20;

    my ($last, $wrong) = (0, 0);

    for my $i (1 .. 6000) {
        my $r = post('big', "b$i " . 'x' x 1000);

        $wrong++ if $r->{status} != 201;
        $last = $r->json->{offset} if $r->{status} == 201;
    }

    is($wrong, 0, '6 MB go into a zone of 3');
    cmp_ok(zone()->{evicted}, '>', 2000, 'for which older ones went');
    is(zone()->{full}, 0, 'none was refused');

    my @big = history('big');

    is($big[-1]{offset}, $last, 'the newest is there');
    cmp_ok(scalar @big, '>', 500, 'and many before it');
    is(join(' ', map { $_->{offset} } @big),
       join(' ', $last - @big + 1 .. $last), 'with no hole');
    is(join(' ', map { (split / /, $_->{data})[0] } @big),
       join(' ', map { "b$_" } 6000 - @big + 1 .. 6000), 'as they were');

    is(join(' ', map { $_->{data} } history('keep')),
       join(' ', map { "k$_" } 1 .. 20), 'a small channel lost nothing');

    remove('keep', 'big');
    recovered('after a purge');
};


subtest 'large and small mixed' => sub {
    my @channels = map { "mix$_" } 0 .. 7;
    my (%sent, %last, @wrong);

    # from one to 60,000 bytes, many times the zone in all, in no order

    my $seed = 7;
    my $bytes = 0;

    for my $i (1 .. 2500) {
        $seed = ($seed * 1103515245 + 12345) % 2**31;

        my $kind = ($seed >> 16) % 4;
        my $size = $kind == 0 ? 20000 + ($seed >> 8) % 40000
                 : $kind == 1 ? 1000 + ($seed >> 8) % 6000
                 :              1 + ($seed >> 8) % 300;

        my $channel = $channels[($seed >> 20) % @channels];
        my $data = substr("$i-" . chr(97 + $i % 26) x $size, 0, $size);
        my $r = post($channel, $data);

        if ($r->{status} != 201) {
            push @wrong, "$i of $size bytes: $r->{status} $r->{body}";
            next;
        }

        my $offset = $r->json->{offset};

        push @wrong, "$i: offset $offset"
            if $offset != ($last{$channel} || 0) + 1;

        $bytes += $size;
        $last{$channel} = $offset;
        $sent{$channel}{$offset} = md5_hex($data);
    }

    is_deeply(\@wrong, [], 'all are taken, large ones too');
    note("$bytes bytes, ", zone()->{evicted}, ' evicted');

    my ($kept, $bad) = (0, 0);

    for my $channel (@channels) {
        my $at = 0;

        for my $m (history($channel)) {
            $bad++ if $at && $m->{offset} != $at + 1;
            $bad++ if md5_hex($m->{data}) ne $sent{$channel}{$m->{offset}};
            $at = $m->{offset};
            $kept++;
        }

        $bad++ if $at && $at != $last{$channel};
    }

    is($bad, 0, 'what is kept is right, and the newest');
    cmp_ok($kept, '>', 50, 'and it is not little');

    remove(@channels);
    recovered('after the mix');
};


# Places of subscribers can't be evicted: when they have all that they may, a
# join is refused. Publishes go on, and those who leave make room.

subtest 'refused, and then not' => sub {
    my (@clients, $error, $key);
    my $joined = 0;
    my $full   = zone()->{full};

    for my $i (1 .. 2000) {
        $key = "k$i"
            if post('keyed', 'k', 'Fanout-Key' => "k$i")->{status} == 201;

        my $client = $nginx->native(path => '/rt');
        push @clients, $client;

        my @replies = $client->batch(map {
            { op => 'join', channel => "place$i-$_-" . 'x' x 200 }
        } 1 .. 50);

        for (@replies) {
            $joined++ if $_->{ok};
            $error ||= $_->{error};
        }

        last if $error;
    }

    is($error->{code}, 'zone_full', 'no room for another subscriber');
    cmp_ok($joined, '>', 1000, "after $joined");

    cmp_ok(zone()->{shares}{channels}{refused}, '>', 0, 'the status counts it');

    my $r = post('other', 'y' x 3000);

    is($r->{status}, 201, 'a message has the room that is kept for histories');

    $r = $clients[0]->cmd(publish => channel => 'other', data => 'y' x 3000);
    ok($r->{ok}, 'that of a client as well');
    is(zone()->{full}, $full, 'no publish was refused');
    is(http()->get('/status?format=health')->{status}, 200,
       'the worker is not ill for it');

    $r = post('keyed', 'k', 'Fanout-Key' => $key);
    ok($r->{status} =~ /^2/ && $r->json->{duplicate},
       'what was acknowledged is remembered') or diag(explain($r));

    is(scalar(grep { !$_->ok('ping') || defined $_->close_code } @clients), 0,
       'those who are there stay');

    $clients[0]->ok(leave => channel => "place1-$_-" . 'x' x 200)
        for 1 .. 50;

    ok(wait_for(sub {
        $clients[-1]->cmd(join => channel => 'late')->{ok};
    }, 20), 'when some leave there is room');
    ok(wait_for(sub { post('late', 'z' x 3000)->{status} == 201 }, 20),
       'for a message too');
    ok($clients[-1]->next_where(sub { ($_[0]{data} || '') =~ /^z/ }),
       'and it is delivered');

    $_->close for @clients;
    remove('keyed', 'late', 'other');
    recovered('after they left');
};


subtest 'a ttl empties it' => sub {
    my $wrong = 0;

    for my $i (1 .. 2000) {
        $wrong++ if post("ttl$i", 'x' x 900)->{status} != 201;
    }

    is($wrong, 0, 'two thousand channels');
    recovered('after the ttl');
};


# Two publishers flat out into a zone that is always full: still in order,
# and who was too slow is told

subtest 'subscribers of a full zone' => sub {
    my $swarm = Fanout::Swarm->start($nginx, subs => 40, channels => 4,
        pubs => 4, api_pubs => 2, window => 1, messages => 6000, size => 200,
        size_to => 20000, churn => 20, allow_gap => 1,
        allow_unrecovered => 1, settle => 20000,
        stalled => 5, stall => 1500);

    $swarm->check('one order, and every gap is told');

    my $r = $swarm->report;
    is($r->{acked}, $r->{sent}, 'all is acknowledged');
    cmp_ok($r->{gaps}, '>', 0, 'there were gaps');
    diag("in a full zone: $r->{acked} acknowledged, $r->{refused} times"
         . " refused and sent again, $r->{gaps} gaps");

    remove(map { "swarm$_" } 0 .. 3);
    recovered('at the end');
};


done_testing();
