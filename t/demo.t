#!/usr/bin/perl

# "make demo": a REST server as npm has it, behind NGINX, and a page that shows
# its writes, in a real Chromium. If this fails, who tries it sees nothing
# live, two tabs differ from each other or from the server, or what was written
# while a tab was cut off is not there when it is back.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use IPC::Open3;
use POSIX qw( WNOHANG );

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Rest;
use Fanout::Tabs;

my $root = abs_path(dirname(__FILE__) . '/..');


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or die "$path: $!";
    local $/;

    return readline $f;
}


my $rest = Fanout::Rest->start(
    Fanout::JSON::decode(slurp("$root/conf/demo.json")));
my $conf = slurp("$root/conf/demo.conf");

$conf =~ s|http://127\.0\.0\.1:3000|'http://127.0.0.1:' . $rest->port|e
    or die 'no backend in demo.conf';

my $nginx = Fanout::Nginx->start(conf => runnable($conf));
my $http  = $nginx->http;
my $tabs  = Fanout::Tabs->start;

my $title = '#tasks li span';
my $type  = { 'Content-Type' => 'application/json' };


# the server's own list, as the page has to show it

sub there {
    return [ map { $_->{title} } @{ $http->get('/api/tasks')->json } ];
}


sub same {
    my ($what) = @_;

    for my $tab (qw( ann bob )) {
        ok(wait_for(sub {
            Fanout::JSON::encode($tabs->texts($tab, $title))
                eq Fanout::JSON::encode(there());
        }), "$what: $tab has what the server has")
            or diag(Fanout::JSON::encode([ $tabs->texts($tab, $title),
                                           there() ]));
    }
}


for my $tab (qw( ann bob )) {
    $tabs->open($tab, $nginx->uri('/'));
    ok($tabs->wait($tab, '#state', 'connected'), "$tab is there");
}

same('at first');

$tabs->fill('ann', '#title', 'bread <b>and</b> butter');
$tabs->press('ann', '#title', 'Enter');

ok($tabs->wait($_, $title, 'bread <b>and</b> butter'),
   "$_ sees what ann adds, letter by letter") for qw( ann bob );
ok($tabs->wait('ann', '#feed li', 'this tab'), 'ann sees that it is hers');
ok($tabs->wait('bob', '#feed li', 'POST /api/tasks 201'), 'bob sees the write');

$tabs->click('bob', '#tasks li:nth-child(2) input');

ok($tabs->wait('ann', '#tasks li.done span', 'Tick a task'),
   'ann sees what bob ticks');

$tabs->click('ann', '#tasks li:nth-child(1) button');

ok($tabs->wait('bob', '#feed li', 'DELETE /api/tasks/1 200'),
   'bob sees what ann removes');
same('after all that');


# what the page shows for a shell

my $curl   = $tabs->texts('ann', '#curl')->[0];
my $answer = Fanout::JSON::decode(scalar `$curl -sS`);

is($answer->{title}, 'written by curl', 'the command runs');
ok($tabs->wait('bob', $title, 'written by curl'), 'and is seen');


# a reload, with a write meanwhile

$nginx->reload;
$nginx->http->put('/api/tasks/2', '{"title":"while reloading"}',
                  headers => $type);

ok($tabs->wait($_, $title, 'while reloading'), "$_ misses nothing")
    for qw( ann bob );

# a killed worker, with writes meanwhile

for my $pid ($nginx->worker_pids) {
    $nginx->kill_worker($pid);
    $nginx->http->post('/api/tasks', qq({"title":"after $pid"}),
                       headers => $type);
}

same('after both workers died');


for my $width (360, 768, 1440) {
    $tabs->resize('ann', $width, 800);

    is($tabs->evaluate('ann', 'Math.max(document.body.scrollWidth,
                               document.documentElement.scrollWidth)'),
       $width, "$width pixels are enough");

    $tabs->screenshot('ann', "$ENV{TEST_SCREENSHOTS}/demo-$width.png", 1)
        if $ENV{TEST_SCREENSHOTS};
}

# all that the page says it takes is what serves it

my %line = map { s/^\s+|\s+$//gr => 1 } split /\n/, $conf;

$line{'proxy_pass http://127.0.0.1:3000/;'} = 1;

is_deeply([ grep { !$line{$_} } map { s/^\s+|\s+$//gr } split /\n/,
            $tabs->texts('ann', 'pre')->[0] ], [],
          'what the page says of its configuration is true');


# but for sockets that workers took with them

for my $tab (qw( ann bob )) {
    my @errors = grep { !/WebSocket connection|ERR_CONNECTION/ }
                 @{ $tabs->errors($tab) };
    is_deeply(\@errors, [], "nothing in the console of $tab");
}


# Chromium keeps connections that it has not used: these hold an old worker

$tabs->close($_) for qw( ann bob );
ok(wait_for(sub { !$nginx->stopping_pids }, 30), 'old workers go');


# the command itself: it says what to open, serves it, and leaves nothing

SKIP: {
    skip 'the module is linked in', 4 if !length Fanout::Nginx::module({});

    local $ENV{PORT} = free_port();
    local $ENV{NGINX_BINARY} = Fanout::Nginx::binary();

    my $pid = open3(my $in, my $out, undef, "$root/t/tools/run", 'demo');
    my $said = '';

    while (my $line = readline $out) {
        $said .= $line;
        last if $line =~ /stop\s+Ctrl-C/;
    }

    like($said, qr{open\s+http://127\.0\.0\.1:$ENV{PORT}/}, 'what to open');

    my ($server) = $said =~ m{server\s+http://127\.0\.0\.1:(\d+)};
    my $demo = Fanout::HTTP->new(port => $ENV{PORT});

    like($demo->get('/')->{body}, qr/<title>nginx-fanout: a REST API/,
         'the page is there');
    is($demo->post('/api/tasks', '{"title":"x"}',
                   headers => $type)->{status}, 201, 'the server takes it');

    kill 'TERM', $pid;
    waitpid $pid, 0;

    ok(wait_for(sub {
        !grep { eval { Fanout::HTTP->new(port => $_)->get('/'); 1 } }
              $ENV{PORT}, $server
    }), 'and all of it is gone');
}
