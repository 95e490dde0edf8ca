#!/usr/bin/env perl

# The clock is set back, or forth: if this fails, an NTP correction mixes up
# the order of messages, throws history away or keeps it for ever, cuts
# clients, or makes their resume fail.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw( tempdir );
use Time::HiRes qw( time );

use Fanout::Nginx;
use Fanout::Swarm;


my $dir = tempdir('fanout-clock-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $cc  = $ENV{CC} || 'cc';

system($cc, qw( -O2 -Wall -fPIC -shared -o ), "$dir/clock.so",
       "$FindBin::Bin/lib/clock.c") == 0 or die "clock.c: $?\n";

open my $clock, '+>', "$dir/clock" or die "clock: $!";


# in milliseconds, for every worker at once

sub shift_clock {
    my ($ms) = @_;

    sysseek $clock, 0, 0;
    syswrite $clock, pack 'q', $ms;
}

shift_clock(0);


my $nginx = do {
    local $ENV{FANOUT_TEST_CLOCK} = "$dir/clock";
    local $ENV{LD_PRELOAD} = "$dir/clock.so";
    local $ENV{ASAN_OPTIONS} = join ':', 'verify_asan_link_order=0',
                                    grep { defined } $ENV{ASAN_OPTIONS};

    Fanout::Nginx->start(
        main   => 'env FANOUT_TEST_CLOCK; env LD_PRELOAD;',
        http   => 'fanout_zone app 32m dedupe=1h; fanout_rate off; fanout_budget off;
                   fanout_channel app short history=100 ttl=3s;
                   fanout_channel app * history=100000 ttl=1h;',
        server => 'location /rt { fanout app; fanout_permit all *;
                                  fanout_resume 1h; fanout_ping 2s;
                                  fanout_timeout 30s; }
                   location /fanout { fanout_api app; }
                   location = /status { fanout_status app; }',
    );
};

# what takes long comes before there are clients, who have to answer pings

Fanout::Swarm::build();

my @pids = $nginx->worker_pids;
my @http = map { $nginx->http(worker => $_) } @pids;
my @subs = map { $nginx->native(path => '/rt', worker => $_) } @pids;
my $idle = $nginx->native(path => '/rt');
my $n    = 0;


sub zone { $http[0]->get('/status')->json->{zone} }

sub post {
    my ($channel, $data, $key) = @_;

    return $http[$n++ % 2]->post("/fanout/channels/$channel/messages",
        qq("$data"), headers => { $key ? ('Fanout-Key' => $key) : () });
}

sub server_time { $_[0]->ok('ping')->{time} }


my $zone = zone();
$_->ok(join => channel => 'room') for @subs;

my $real = server_time($subs[0]);

cmp_ok(abs($real - 1000 * time), '<', 60_000, 'the time is that of the clock');


# The shim works: an hour ahead is seen

shift_clock(3_600_000);
ok(wait_for(sub { server_time($subs[0]) > $real + 3_500_000 }),
   'the clock can be set forth');

my $before = post('room', 'before', 'key')->json;
my $short  = post('short', 'short')->json;

cmp_ok($before->{time}, '>', $real + 3_500_000, 'and messages say so');
is($_->next_push->{data}, 'before', 'they come') for @subs;


# Two hours back, while many talk; then forth again, and back

my $swarm = Fanout::Swarm->start($nginx, subs => 50, channels => 4, pubs => 4,
    api_pubs => 2, rate => 1000, churn => 50, duration => 600_000,
    limit => 700, need_resumed => 1);

ok($swarm->wait_ready, 'the swarm is there') or diag($swarm->failure);

my $last = $before;

for my $ms (-3_600_000, 1_800_000, -86_400_000, -86_400_500) {
    shift_clock($ms);

    for my $i (1 .. 20) {
        my $answer = post('room', "$ms $i");
        my $r = $answer->json
            or die "$ms $i: $answer->{status}: $answer->{body}\n";

        is($r->{offset}, $last->{offset} + 1, "$ms: the next offset")
            if $r->{offset} != $last->{offset} + 1 || $i == 1;
        cmp_ok($r->{time}, '>=', $last->{time}, "$ms: time does not go back")
            if $r->{time} < $last->{time} || $i == 1;

        $last = $r;
    }

    for my $client (@subs) {
        my @got = map { $client->next_push->{data} } 1 .. 20;

        is_deeply(\@got, [ map { "$ms $_" } 1 .. 20 ],
                  "$ms: all come in order");
    }
}

my $r = post('room', 'before', 'key')->json;
ok($r->{duplicate} && $r->{offset} == $before->{offset},
   'a key is remembered');


# Ttl runs on: what was to be kept for three seconds goes after three
# seconds of real time, though the clock was set back by a day

ok(wait_for(sub {
    my $h = $http[0]->get('/fanout/channels/short/messages')->json;
    return !@{ $h->{messages} || [] };
}, 20), 'a short history expires');

my $h = $http[1]->get('/fanout/channels/room/messages?limit=1000')->json;
is(scalar @{ $h->{messages} }, 81, 'a long one does not');

my $times = join ' ', map { $_->{time} } @{ $h->{messages} };
is($times, join(' ', sort { $a <=> $b } split / /, $times),
   'times in it only grow');


# ...nor does it make what is new expire at once

shift_clock(40 * 86_400_000);
ok(wait_for(sub { server_time($subs[0]) > $real + 86_400_000 }),
   'the clock is set forth by forty days');
is(post('short', 'new')->{status}, 201, 'a message');
$h = $http[0]->get('/fanout/channels/short/messages')->json;
is(scalar @{ $h->{messages} }, 1, 'is there');
$h = $http[1]->get('/fanout/channels/room/messages?limit=1000')->json;
is(scalar @{ $h->{messages} }, 81, 'and so is the old history');


# Sessions: nobody was timed out, and who was cut comes back

is($idle->ok('ping') && $idle->close_code, undef, 'an idle client lives');

$subs[0]->cut;
shift_clock(-3_600_000);

my $again = $nginx->native(path => '/rt', resume => $subs[0]->resume);
ok($again->welcome->{resumed}, 'a cut one is known');

my $join = $again->ok(join => channel => 'room',
    since => { epoch => $last->{epoch}, offset => $last->{offset} - 3 });

ok($join->{recovered}, 'and recovers');
is_deeply([ map { $_->{data} } @{ $join->{messages} } ],
          [ map { "-86400500 $_" } 18 .. 20 ], 'what it missed');

$swarm->stop;
$swarm->check('one order, nothing lost, nothing doubled in the meantime');

is($swarm->report->{cuts}, 0, 'nobody was cut');
is_deeply([ $nginx->worker_pids ], \@pids, 'the workers live');
is(zone()->{incarnation}, $zone->{incarnation}, 'and so does the zone');

done_testing();
